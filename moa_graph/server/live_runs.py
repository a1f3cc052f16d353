"""Runs of threads. A run belongs to the server, not to the page that watches it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from functools import lru_cache
from time import monotonic
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import StreamMode

from moa_graph.config.model import MoAConfig
from moa_graph.redaction import describe
from moa_graph.runs.store import (
    CompiledMoA,
    Store,
    StoreError,
    present_values,
    read_newest_turn,
    run_config,
)
from moa_graph.server.errors import ApiError
from moa_graph.server.run_view import Board, Json
from moa_graph.server.service import Service

CONFLICT = 409
GRAPHS = 16  # that are kept with their models
PACE = 0.04  # seconds between two messages to a page: tokens come faster than eyes read
MODES: list[StreamMode] = ["tasks", "messages"]

Begin = Callable[[CompiledMoA, RunnableConfig], Awaitable[RunnableConfig]]


class LiveRun:
    """A run that goes on, and those who watch it."""

    def __init__(self, mixture: MoAConfig, board: Board, question: str | None) -> None:
        self.mixture, self.board, self.question = mixture, board, question
        self.status = "running"
        """`running`, then `answered`, `failed` or `stopped`."""
        self.error: str | None = None
        self.task: asyncio.Task[None] | None = None
        self._began = monotonic()
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Wake those who watch."""
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self, status: str, error: str | None = None) -> None:
        """Note how it ended."""
        self.status, self.error = status, error
        self.board.stop()
        self.tell()

    async def watch(self) -> AsyncIterator[Json]:
        """Give what there is, and then what changes, until the run is over."""
        sent: dict[str, Json] = {}
        while True:
            changed, over = self._changed, self.status != "running"
            cells = self.board.changes(sent)
            if cells or over:
                seconds = round(monotonic() - self._began, 3)
                yield {
                    "status": self.status,
                    "error": self.error,
                    "seconds": seconds,
                    "cells": cells,
                }
            if over:
                return
            await changed.wait()
            await asyncio.sleep(PACE)


class Runs:
    """The runs of threads that go on in this process."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store = service, store
        self._live: dict[str, LiveRun] = {}
        self._starting: set[str] = set()
        self._graph = lru_cache(GRAPHS)(self._build)

    def get(self, thread: str) -> LiveRun | None:
        """Give the run of a thread, if one goes on."""
        return self._live.get(thread)

    async def start(
        self,
        thread: str,
        mixture: MoAConfig,
        *,
        question: str | None = None,
        begin: Begin | None = None,
    ) -> None:
        """Begin a run of a thread; it goes on when this returns.

        Args:
            thread: The thread.
            mixture: The mixture.
            question: What is asked; without it, the run goes on with what was begun. It replaces
                an earlier question of the thread that was not answered.
            begin: Makes the thread ready once it is held, and says where to go on; by default
                at its newest checkpoint.

        Raises:
            ApiError: If the thread runs already, or a run cannot begin.
        """
        if thread in self._live or thread in self._starting:
            raise ApiError(CONFLICT, f"thread {thread!r} is already running", code="running")
        self._starting.add(thread)
        try:
            async with AsyncExitStack() as held:
                graph = self._graph(mixture.model_dump_json(exclude_defaults=True))
                await _hold(held, self._store, thread)
                config = run_config(thread, mixture)
                if begin:
                    config = await begin(graph, config)
                turn = await read_newest_turn(graph, config)
                message = turn.ask(question) if question else turn.resume_input
                live = await _live(graph, config, mixture, question)
                stream = graph.astream(message, config, stream_mode=MODES, durability="sync")
                task = self._service.start(self._run(thread, live, stream, held))
                await asyncio.sleep(0)  # a task that is cancelled before it began cleans nothing up
                live.task = task
        finally:
            self._starting.discard(thread)

    async def stop(self, thread: str) -> None:
        """Stop the run of a thread; what was answered is kept.

        Raises:
            ApiError: If there is none.
        """
        live = self.get(thread)
        if not live or not live.task:
            raise ApiError(CONFLICT, f"thread {thread!r} is not running")
        live.task.cancel()
        await asyncio.wait([live.task])

    async def _run(self, thread: str, live: LiveRun, stream: Any, held: AsyncExitStack) -> None:
        status, error = "stopped", None
        self._live[thread] = live
        try:
            async with held.pop_all(), aclosing(stream) as events:
                async for mode, event in events:
                    if mode == "tasks":
                        live.board.update(event)
                    else:
                        live.board.hear(*event)
                    live.tell()
            status = "answered"
        except Exception as failure:  # noqa: BLE001  # whatever it is, the page is told
            status, error = "failed", describe(failure)
        finally:
            del self._live[thread]
            live.end(status, error)

    def _build(self, kept: str) -> CompiledMoA:
        """Build the graph of a mixture, its models too.

        Raises:
            ApiError: If a key or a package is missing.
        """
        mixture = MoAConfig.model_validate_json(kept)
        try:
            builder = mixture.graph(lazy=False, stream_proposals=True)
        except (ValueError, ImportError) as error:
            raise ApiError(CONFLICT, describe(error), code="not_ready") from None
        return builder.compile(checkpointer=self._store.saver, name=mixture.name)


async def _hold(held: AsyncExitStack, store: Store, thread: str) -> None:
    try:
        await held.enter_async_context(store.lock(thread))
    except StoreError as error:
        raise ApiError(CONFLICT, str(error), code="locked") from None


async def _live(
    graph: CompiledMoA, config: RunnableConfig, mixture: MoAConfig, question: str | None
) -> LiveRun:
    """Make the picture of a run that is about to go on, with what is there already."""
    board = Board(graph, mixture)
    if question:
        return LiveRun(mixture, board, question)
    snapshot = await graph.aget_state(config)
    if "checkpoint_id" in config["configurable"]:  # a fork, which takes no half layers over
        board.show(snapshot.values, snapshot.next)
    elif snapshot.values.get("messages"):  # else it was stopped before anything was taken in
        board.show(present_values(graph, snapshot), snapshot.next)
        board.keep([task.name for task in snapshot.tasks if task.result])
    return LiveRun(mixture, board, None)
