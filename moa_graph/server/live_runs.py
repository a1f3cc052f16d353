"""Runs of threads. A run belongs to the server, not to the page that watches it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from functools import lru_cache
from time import monotonic

from langchain_core.runnables import RunnableConfig

from moa_graph.config.model import MoAConfig
from moa_graph.redaction import redacted_message
from moa_graph.runs.driver import TurnRun
from moa_graph.runs.live import RunProgress
from moa_graph.runs.store import (
    CompiledMoA,
    RunStore,
    StoreError,
    build_run_config,
)
from moa_graph.server.errors import HTTP_CONFLICT, ApiError
from moa_graph.server.run_view import JsonObject, collect_changes
from moa_graph.server.service import MixtureService

MAX_CACHED_GRAPHS = 16  # that are kept with their models
UPDATE_INTERVAL_S = (
    0.04  # seconds between two messages to a page: tokens come faster than eyes read
)

PrepareThread = Callable[[CompiledMoA, RunnableConfig], Awaitable[RunnableConfig]]


class LiveRun:
    """A run that goes on, and those who watch it."""

    def __init__(self, mixture: MoAConfig, progress: RunProgress, question: str | None) -> None:
        self.mixture, self.progress, self.question = mixture, progress, question
        self.status = "running"
        """`running`, then `answered`, `failed` or `stopped`."""
        self.error: str | None = None
        self.task: asyncio.Task[None] | None = None
        self._started_at = monotonic()
        self._change_event = asyncio.Event()

    def notify_watchers(self) -> None:
        """Wake those who watch."""
        self._change_event.set()
        self._change_event = asyncio.Event()

    def mark_ended(self, status: str, error: str | None = None) -> None:
        """Note how it ended."""
        self.status, self.error = status, error
        self.progress.mark_stopped()
        self.notify_watchers()

    async def stream_updates(self) -> AsyncIterator[JsonObject]:
        """Give what there is, and then what changes, until the run is over."""
        sent: dict[str, JsonObject] = {}
        while True:
            change_event, is_over = self._change_event, self.status != "running"
            cells = collect_changes(self.progress, sent)
            if cells or is_over:
                seconds = round(monotonic() - self._started_at, 3)
                yield {
                    "status": self.status,
                    "error": self.error,
                    "seconds": seconds,
                    "cells": cells,
                }
            if is_over:
                return
            await change_event.wait()
            await asyncio.sleep(UPDATE_INTERVAL_S)


class LiveRuns:
    """The runs of threads that go on in this process."""

    def __init__(self, service: MixtureService, store: RunStore) -> None:
        self._service, self._store = service, store
        self._runs_by_thread: dict[str, LiveRun] = {}
        self._starting: set[str] = set()
        self._cached_graph = lru_cache(MAX_CACHED_GRAPHS)(self._build_graph)

    def get_run(self, thread: str) -> LiveRun | None:
        """Give the run of a thread, if one goes on."""
        return self._runs_by_thread.get(thread)

    async def start_run(
        self,
        thread: str,
        mixture: MoAConfig,
        *,
        question: str | None = None,
        prepare: PrepareThread | None = None,
    ) -> None:
        """Begin a run of a thread; it goes on when this returns.

        Args:
            thread: The thread.
            mixture: The mixture.
            question: What is asked; without it, the run goes on with what was begun. It replaces
                an earlier question of the thread that was not answered.
            prepare: Makes the thread ready once it is held, and says where to go on; by default
                at its newest checkpoint.

        Raises:
            ApiError: If the thread runs already, or a run cannot begin.
        """
        if thread in self._runs_by_thread or thread in self._starting:
            raise ApiError(HTTP_CONFLICT, f"thread {thread!r} is already running", code="running")
        self._service.require_capacity()  # before anything is stored
        self._starting.add(thread)
        try:
            async with AsyncExitStack() as lock_stack:
                graph = self._cached_graph(mixture.model_dump_json(exclude_defaults=True))
                await _lock_thread(lock_stack, self._store, thread)
                config = build_run_config(thread, mixture)
                if prepare:
                    config = await prepare(graph, config)
                run = await TurnRun.prepare(
                    graph,
                    config,
                    lambda turn: turn.ask(question) if question else turn.resume_input,
                )
                progress = RunProgress.from_graph(graph, mixture.prices)
                run.load_stored(progress)
                live = LiveRun(mixture, progress, question)
                task = self._service.start_run(self._run_turn(thread, live, run, lock_stack))
                live.task = task
                await asyncio.sleep(0)  # a task that is cancelled before it began cleans nothing up
        finally:
            self._starting.discard(thread)

    async def stop_run(self, thread: str) -> None:
        """Stop the run of a thread; what was answered is kept.

        Raises:
            ApiError: If there is none.
        """
        live = self.get_run(thread)
        if not live or not live.task:
            raise ApiError(HTTP_CONFLICT, f"thread {thread!r} is not running")
        live.task.cancel()
        await asyncio.wait([live.task])

    async def _run_turn(
        self, thread: str, live: LiveRun, run: TurnRun, lock_stack: AsyncExitStack
    ) -> None:
        status, error = "stopped", None
        self._runs_by_thread[thread] = live
        try:
            async with lock_stack.pop_all(), aclosing(run.stream(live.progress)) as updates:
                async for _ in updates:
                    live.notify_watchers()
            status = "answered"
        except Exception as failure:  # noqa: BLE001  # whatever it is, the page is told
            status, error = "failed", redacted_message(failure)
        finally:
            del self._runs_by_thread[thread]
            live.mark_ended(status, error)

    def _build_graph(self, mixture_json: str) -> CompiledMoA:
        """Build the graph of a mixture, its models too.

        Raises:
            ApiError: If a key or a package is missing.
        """
        mixture = MoAConfig.model_validate_json(mixture_json)
        try:
            builder = mixture.graph(lazy=False, stream_proposals=True, trim_history=True)
        except (ValueError, ImportError) as error:
            raise ApiError(HTTP_CONFLICT, redacted_message(error), code="not_ready") from None
        return builder.compile(checkpointer=self._store.checkpointer, name=mixture.name)


async def _lock_thread(lock_stack: AsyncExitStack, store: RunStore, thread: str) -> None:
    try:
        await lock_stack.enter_async_context(store.lock_thread(thread))
    except StoreError as error:
        raise ApiError(HTTP_CONFLICT, str(error), code="locked") from None
