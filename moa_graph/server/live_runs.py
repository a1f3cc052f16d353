"""Runs of threads that the server owns, so that they continue without the page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from functools import lru_cache
from time import monotonic, time

from langchain_core.runnables import RunnableConfig

from moa_graph.config.model import MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.redaction import redacted_message
from moa_graph.runs.driver import TurnRun
from moa_graph.runs.live import RunProgress
from moa_graph.runs.retention import delete_thread
from moa_graph.runs.store import RunStore, StoreError, build_run_config
from moa_graph.server.checkpoints import read_checkpoint_history
from moa_graph.server.errors import HTTP_CONFLICT, ApiError
from moa_graph.server.json_types import JsonObject
from moa_graph.server.request_record import note_model
from moa_graph.server.run_view import RunMarkdown, SentCell, collect_changes
from moa_graph.server.service import MixtureService
from moa_graph.server.stopped_texts import StoppedTexts
from moa_graph.server.worked_time import WorkedTime

MAX_CACHED_GRAPHS = 16  # maximum number of stored graphs with their models
UPDATE_INTERVAL_S = (
    0.04  # seconds between messages to a page, as tokens arrive faster than people read
)

PrepareThread = Callable[[CompiledMoAGraph, RunnableConfig], Awaitable[RunnableConfig]]


class LiveRun:
    """A running run, and its watchers."""

    def __init__(
        self,
        mixture: MoAConfig,
        progress: RunProgress,
        question: str | None,
        starts: Sequence[float] = (),
    ) -> None:
        self.mixture, self.progress, self.question = mixture, progress, question
        self.starts = [*starts, time()]
        """Starts of the runs of the turn, including this one, in seconds since 1970."""
        self._seconds_before = WorkedTime.from_agents(progress.agents.values(), self.starts).total
        self.status = "running"
        """`running`, then `answered`, `failed` or `stopped`."""
        self.is_waiting = True
        """Whether it waits for other runs."""
        self.error: str | None = None
        self.task: asyncio.Task[None] | None = None
        self._markdown = RunMarkdown()
        self._started_at = monotonic()
        self._change_event = asyncio.Event()

    def notify_watchers(self) -> None:
        """Wake the watchers."""
        self._change_event.set()
        self._change_event = asyncio.Event()

    def mark_ended(self, status: str, error: str | None = None) -> None:
        """Record the outcome of the run."""
        self.status, self.error = status, error
        self.progress.mark_stopped()
        self.notify_watchers()

    async def stream_updates(self) -> AsyncIterator[JsonObject]:
        """Yield the state, and then its changes, until the run ends."""
        sent: dict[str, SentCell] = {}
        while True:
            change_event, is_over = self._change_event, self.status != "running"
            cells = collect_changes(self.progress, self.starts, sent, self._markdown)
            if cells or is_over:
                seconds = round(self._seconds_before + monotonic() - self._started_at, 3)
                yield {
                    "status": self.status,
                    "error": self.error,
                    "waiting": self.is_waiting,
                    "seconds": seconds,
                    "cells": cells,
                }
            if is_over:
                return
            await change_event.wait()
            await asyncio.sleep(UPDATE_INTERVAL_S)


class LiveRuns:
    """The running runs of threads in this process."""

    def __init__(self, service: MixtureService, store: RunStore) -> None:
        self._service, self._store = service, store
        self._runs_by_thread: dict[str, LiveRun] = {}
        self._starting: set[str] = set()
        self.stopped_texts = StoppedTexts()
        self._cached_graph = lru_cache(MAX_CACHED_GRAPHS)(self._build_graph)

    def get_run(self, thread: str) -> LiveRun | None:
        """Return the run of a thread, if there is one."""
        return self._runs_by_thread.get(thread)

    async def start_run(
        self,
        thread: str,
        mixture: MoAConfig,
        *,
        question: str | None = None,
        prepare: PrepareThread | None = None,
    ) -> None:
        """Start a run of a thread in the background.

        Args:
            thread: The thread.
            mixture: The mixture.
            question: The question, which replaces an unanswered one of the thread; without it, the
                run continues the thread.
            prepare: Prepares the locked thread, and returns where to continue; by default at its
                newest checkpoint.

        Raises:
            ApiError: If the thread is already running, or a run cannot start.
        """
        with self._claim_thread(thread):
            self._service.require_capacity()  # before anything is stored
            note_model(mixture.name)
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
                progress.mark_reused()
                starts = [] if question else await self._list_starts(thread, mixture, config)
                live = LiveRun(mixture, progress, question, starts)
                turn = self._run_turn(thread, live, run, lock_stack)
                task = self._service.start_run(turn, takes_place=False)
                live.task = task
                await asyncio.sleep(0)  # a task that is cancelled before its start does no cleanup

    async def _list_starts(
        self, thread: str, mixture: MoAConfig, config: RunnableConfig
    ) -> Sequence[float]:
        """Return the starts of the runs of the continued turn."""
        history = await read_checkpoint_history(self._store.checkpointer, thread, mixture)
        if not history.checkpoints:
            return []
        step = history.find_checkpoint(config["configurable"].get("checkpoint_id"))
        return history.list_starts(step)

    async def delete_thread(self, thread: str) -> None:
        """Delete a thread and its data.

        Raises:
            ApiError: If it is running, here or elsewhere.
        """
        with self._claim_thread(thread):
            try:
                await delete_thread(self._store, thread)
            except StoreError as error:
                raise ApiError(HTTP_CONFLICT, str(error), code="locked") from None
            self.stopped_texts.forget(thread)

    async def stop_run(self, thread: str) -> None:
        """Stop the run of a thread; answers so far are stored.

        Raises:
            ApiError: If there is none.
        """
        live = self.get_run(thread)
        if not live or not live.task:
            message = f"thread {thread!r} is not running"
            raise ApiError(HTTP_CONFLICT, message, code="not_running")
        live.task.cancel()
        await asyncio.wait([live.task])

    @contextmanager
    def _claim_thread(self, thread: str) -> Iterator[None]:
        """Prevent other runs of a thread from starting.

        Raises:
            ApiError: If it is already running.
        """
        if thread in self._runs_by_thread or thread in self._starting:
            raise ApiError(HTTP_CONFLICT, f"thread {thread!r} is already running", code="running")
        self._starting.add(thread)
        try:
            yield
        finally:
            self._starting.discard(thread)

    async def _run_turn(
        self, thread: str, live: LiveRun, run: TurnRun, lock_stack: AsyncExitStack
    ) -> None:
        status, error = "stopped", None
        self._runs_by_thread[thread] = live
        self.stopped_texts.forget(thread)
        try:
            async with lock_stack.pop_all():
                await self._stream_run(live, run)
            status = "answered"
        except Exception as failure:  # noqa: BLE001  # the page shows every error
            status, error = "failed", redacted_message(failure)
        finally:
            del self._runs_by_thread[thread]
            live.mark_ended(status, error)
            self.stopped_texts.keep(thread, live.progress)

    async def _stream_run(self, live: LiveRun, run: TurnRun) -> None:
        try:
            async with self._service.places:
                live.is_waiting = False
                async with aclosing(run.stream(live.progress)) as updates:
                    async for _ in updates:
                        live.notify_watchers()
        except asyncio.CancelledError:
            await run.store_input()
            raise

    def _build_graph(self, mixture_json: str) -> CompiledMoAGraph:
        """Build the graph and the models of a mixture.

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
