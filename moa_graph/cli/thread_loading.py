"""Read a thread for looking at it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.types import StateSnapshot

from moa_graph.config.model import MoAConfig
from moa_graph.runs.store import (
    CompiledMoA,
    StoreError,
    Thread,
    find_thread,
    no_question,
    open_store,
    present_values,
    readable,
    run_config,
)


@dataclass(frozen=True)
class Reading:
    """A thread, the mixture it was last asked with, and its state."""

    thread: Thread
    mixture: MoAConfig
    graph: CompiledMoA
    values: dict[str, Any]
    history: list[StateSnapshot]
    """Its checkpoints, newest first, where they were wanted."""
    waiting: Sequence[str]
    """Nodes that have not written what they were begun for."""


def look_at(name: str, db: str | None, *, history: bool = False) -> Reading:
    """Read a thread.

    Raises:
        StoreError: If there is no such thread, or the database cannot be used.
    """

    async def read() -> Reading:
        async with open_store(db, make=False) as store:
            thread = await find_thread(store.saver, name)
            mixture = readable(thread)
            graph = mixture.graph().compile(checkpointer=store.saver, name=mixture.name)
            config = run_config(name, mixture)
            past = [each async for each in graph.aget_state_history(config)] if history else []
            snapshot = await graph.aget_state(config)
            values = present_values(graph, snapshot)
            if not values.get("messages"):
                raise StoreError(no_question(thread))
            return Reading(thread, mixture, graph, values, past, snapshot.next)

    return asyncio.run(read())
