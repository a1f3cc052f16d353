"""Load a stored thread for display."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.types import StateSnapshot

from moa_graph.cli.forgiving_store import warn_of_busy_database
from moa_graph.config.model import MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.runs.store import Checkpointer, StoreError, build_run_config, open_run_store
from moa_graph.runs.stored_threads import (
    StoredThread,
    describe_missing_question,
    find_thread,
    read_threads,
    require_config,
)
from moa_graph.runs.stored_turns import current_turn_values


@dataclass(frozen=True)
class LoadedThread:
    """A thread, its last mixture, and its state."""

    thread: StoredThread
    mixture: MoAConfig
    graph: CompiledMoAGraph
    values: dict[str, Any]
    history: list[StateSnapshot]
    """Its checkpoints, newest first, if requested."""
    pending_nodes: Sequence[str]
    """Nodes that have started but not finished."""


def load_thread(name: str | None, db: str | None, *, history: bool = False) -> LoadedThread:
    """Read a thread; by default the last one.

    Raises:
        StoreError: If there is no such thread, or the database cannot be used.
    """

    async def read() -> LoadedThread:
        async with open_run_store(db, create=False, on_busy=warn_of_busy_database) as store:
            thread = await find_thread_or_last(store.checkpointer, name)
            mixture = require_config(thread)
            graph = mixture.graph().compile(checkpointer=store.checkpointer, name=mixture.name)
            config = build_run_config(thread.id, mixture)
            past = [each async for each in graph.aget_state_history(config)] if history else []
            snapshot = await graph.aget_state(config)
            values = current_turn_values(graph, snapshot)
            if not values.get("messages"):
                raise StoreError(describe_missing_question(thread))
            return LoadedThread(thread, mixture, graph, values, past, snapshot.next)

    return asyncio.run(read())


async def find_thread_or_last(saver: Checkpointer, name: str | None) -> StoredThread:
    """Return a thread by its name; without a name, the last thread of a mixture.

    Raises:
        StoreError: If there is none.
    """
    if name is not None:
        return await find_thread(saver, name)
    if last := await read_threads(saver, 1, only=lambda t: bool(t.config and t.messages)):
        return last[0]
    raise StoreError("there is no thread yet; `moa ask` creates one")
