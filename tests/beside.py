"""A mixture that reads what a stranger wrote, beside one that waits: run in a process of its own.

`python tests/beside.py URL READER`: the first argument is the address of a `ChatServer`.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable

from moa_graph import Agent, ChatMoA, create_moa

TEXT = "<" + " " * 200_000 + "x"
DEADLINE = 4.0  # seconds: the others answer within them on a busy machine, too


def hardened(agent: Any) -> tuple[Runnable, Any]:
    """A mixture whose proposers read what another proposer wrote."""
    layer = {"stranger": agent("stranger"), "stuck": agent("stuck", timeout=DEADLINE)}
    graph = create_moa(
        [layer] * 2, agent("w"), references_in="user", max_reference_tokens=None
    ).compile()
    return graph, {"messages": "q"}


def tool(agent: Any) -> tuple[Runnable, Any]:
    """A mixture whose proposers read what a tool gave back."""
    model = ChatMoA([[agent("stranger")]], agent("w"))
    call = AIMessage("", tool_calls=[{"name": "find", "args": {}, "id": "1"}])
    return model, [HumanMessage("q"), call, ToolMessage(TEXT, tool_call_id="1")]


def run(url: str, reader: str) -> dict[str, Any]:
    """Run both at once, sync and async; give what came of the one that waits, and of the other."""

    def agent(name: str, **options: Any) -> Agent:
        return Agent(model=f"openai:{name}", base_url=url, max_retries=0, **options)

    layer = {"stuck": agent("waiting"), "fine": agent("fine")}
    waiting = create_moa([layer], agent("w"), deadline=DEADLINE).compile()
    reading, asked = {"hardened": hardened, "tool": tool}[reader](agent)
    calls = [(waiting, {"messages": "q"}), (reading, asked)]
    warm = create_moa([[agent("fine")]], agent("w")).compile()
    warm.invoke({"messages": "q"})  # what is imported now takes none of the seconds below
    with ThreadPoolExecutor() as pool:  # side by side: both wait for their deadlines
        sync = pool.submit(invoke, calls)
        return {"async": told(*asyncio.run(ainvoke(calls))), "sync": told(*sync.result())}


def invoke(calls: Sequence[tuple[Runnable, Any]]) -> list[Any]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda call: call[0].invoke(call[1]), calls))


async def ainvoke(calls: Sequence[tuple[Runnable, Any]]) -> list[Any]:
    return await asyncio.gather(*(graph.ainvoke(given) for graph, given in calls))


def told(waited: Any, read: Any) -> dict[str, Any]:
    answer, proposals = (
        (read, {}) if isinstance(read, AIMessage) else (read["messages"][-1], read["proposals"])
    )
    return {
        "waited": waited["proposals"]["layer_1_stuck"]["error"],
        "timeouts": [p["error"] for node, p in proposals.items() if node.endswith("stuck")],
        "answers": [waited["messages"][-1].text, answer.text],
    }


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
