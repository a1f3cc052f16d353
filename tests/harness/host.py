"""A host program for the kill harness: a graph that embeds a mixture, on a thread of a database.

It goes on with the thread where there is one, and prints the final answer.
"""

import argparse
import asyncio

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import MoAConfig, create_moa, read_turn

NEEDED = 2  # answers of three
GRACE_S = 0.1


def plain(config: str) -> StateGraph:
    """Build the mixture of a file."""
    return MoAConfig.load(config).graph()


def nested(config: str) -> StateGraph:
    """Build a mixture with a quorum and grace, one of whose proposers is the mixture of a file."""
    agents = MoAConfig.load(config).agents
    # They read something else than the same models in the mixture do, and so answer otherwise.
    outer = {name: agents[name].model_copy(update={"system": "Be the outer one."}) for name in "ac"}
    layer = {**outer, "mixture": plain(config).compile()}
    return create_moa([layer] * 2, agents["w"], quorum=NEEDED, grace=GRACE_S)


KINDS = {"plain": plain, "nested": nested}


async def main() -> None:
    """Run the thread to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("config", "db", "thread", "question", "kind"):
        parser.add_argument(name)
    options = parser.parse_args()
    postgres = options.db.startswith("postgresql:")
    saver_type = AsyncPostgresSaver if postgres else AsyncSqliteSaver
    builder = StateGraph(MessagesState)
    builder.add_node("moa", KINDS[options.kind](options.config).compile())
    builder.add_edge(START, "moa")
    builder.add_edge("moa", END)
    async with saver_type.from_conn_string(options.db) as saver:
        await saver.setup()
        graph = builder.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": options.thread}}
        turn = read_turn(await graph.aget_state(config))
        inputs = turn.ask(options.question) if turn.status == "none" else turn.resume_input
        async for _ in graph.astream(inputs, config, stream_mode="messages", subgraphs=True):
            pass
        print((await graph.aget_state(config)).values["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(main())
