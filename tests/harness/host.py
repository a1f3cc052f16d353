"""A host program for the kill harness: a graph that embeds a mixture, on a thread of a database.

It goes on with the thread where there is one, and prints the final answer.
"""

import argparse
import asyncio

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import MoAConfig, read_turn


def host(config: str) -> StateGraph:
    """Build the host."""
    builder = StateGraph(MessagesState)
    builder.add_node("moa", MoAConfig.load(config).graph().compile())
    builder.add_edge(START, "moa")
    builder.add_edge("moa", END)
    return builder


async def main() -> None:
    """Run the thread to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("config", "db", "thread", "question"):
        parser.add_argument(name)
    options = parser.parse_args()
    postgres = options.db.startswith("postgresql:")
    saver_type = AsyncPostgresSaver if postgres else AsyncSqliteSaver
    async with saver_type.from_conn_string(options.db) as saver:
        graph = host(options.config).compile(checkpointer=saver)
        config = {"configurable": {"thread_id": options.thread}}
        turn = read_turn(await graph.aget_state(config))
        inputs = turn.ask(options.question) if turn.status == "none" else turn.resume_input
        async for _ in graph.astream(inputs, config, stream_mode="messages", subgraphs=True):
            pass
        print((await graph.aget_state(config)).values["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(main())
