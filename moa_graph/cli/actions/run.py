"""Run a mixture from the command line, show its progress and print the answer."""

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import typer
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from moa_graph.cli.choice import load_mixture, require_api_keys
from moa_graph.cli.errors import EXIT_INTERRUPTED, CommandError
from moa_graph.cli.forgiving_store import open_forgiving_store, warn_of_busy_database
from moa_graph.cli.node_cache import NodeCache, print_savings
from moa_graph.cli.startup import show_startup_notice
from moa_graph.cli.terminal.answer import StreamedAnswer
from moa_graph.cli.terminal.live import choose_view
from moa_graph.cli.terminal.plain_text import fit_to_stream, print_warning
from moa_graph.cli.terminal.progress_view import ProgressView
from moa_graph.cli.terminal.text import print_answer, print_failures, print_json, print_run
from moa_graph.config.model import MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.turns import Turn
from moa_graph.models.pricing import Prices
from moa_graph.redaction import redacted_message
from moa_graph.runs.driver import GraphInput, InputForTurn, TurnRun
from moa_graph.runs.formatting import format_dropped_messages, format_totals
from moa_graph.runs.live import RunProgress
from moa_graph.runs.record import read_run
from moa_graph.runs.store import (
    Checkpointer,
    RunStore,
    build_run_config,
    format_resume_command,
    open_run_store,
)
from moa_graph.runs.stored_threads import (
    StoredThread,
    describe_missing_question,
    find_thread,
    read_thread,
    read_threads,
    require_config,
)
from moa_graph.runs.stored_turns import read_current_values

ThreadEditor = Callable[[CompiledMoAGraph, RunnableConfig], Awaitable[Any]]


@dataclass(frozen=True)
class OutputOptions:
    """Options of the output."""

    show: bool = False
    json: bool = False
    progress: bool | None = None
    """Whether to show progress on standard error; by default if it is a terminal."""

    @property
    def streams_answer(self) -> bool:
        """Whether the answer is printed while it is generated."""
        return sys.stdout.isatty() and not (self.json or self.show)

    def print_result(self, result: "CliRunResult") -> None:
        """Print a result; a streamed answer is not printed again."""
        if self.json:
            print_json(result.thread, result.values)
        elif self.show:
            print_run(result.values)
        elif not result.was_streamed:
            print_answer(result.values["messages"][-1].text)
        if is_terminal := sys.stderr.isatty():
            typer.echo(err=True)
        run = read_run(result.values, prices=result.prices)
        if run.dropped_messages:
            print_warning(f"moa: {format_dropped_messages(run.dropped_messages)}")
        print_failures(result.values)
        print_savings(run)
        if is_terminal:
            name = f"thread {result.thread}" if result.is_kept else "not stored"
            totals = fit_to_stream(f"{name} · {format_totals(run)}", sys.stderr)
            typer.secho(totals, err=True, dim=True)


@dataclass(frozen=True)
class CliRunResult:
    """Result of a run."""

    thread: str
    values: dict[str, Any]
    was_streamed: bool
    """Whether the answer was streamed to standard output."""
    prices: Prices
    is_kept: bool = True
    """Whether another process can continue the thread."""


def ask_mixture(
    content: str,
    requested_mixture: MoAConfig | None,
    thread: str | None,
    db: str | None,
    output: OutputOptions,
    cache: NodeCache,
) -> None:
    """Ask a question, and print the answer.

    Args:
        content: The question with its attachments.
        requested_mixture: The mixture; by default the last one of the thread.
        thread: The thread to continue; by default a new one.
        db: The database.
        output: Output options.
        cache: The node cache, if it is used.

    Raises:
        CommandError: If there is no answer; the message says how to continue.
    """
    name = thread or secrets.token_hex(4)

    async def run() -> CliRunResult:
        async with open_forgiving_store(db, thread) as store:
            stored_thread = await read_thread(store.checkpointer, name) if thread else None
            mixture = (
                requested_mixture or (stored_thread and stored_thread.config) or load_mixture()
            )
            try:
                run = CliRun(store, name, mixture, output, db, cache)
                return await run.run_to_end(lambda turn: input_to_ask(turn, HumanMessage(content)))
            except asyncio.CancelledError:
                if store.keeps_runs and await read_thread(store.checkpointer, name):
                    raise
                raise CommandError(
                    "interrupted; nothing was stored yet", EXIT_INTERRUPTED
                ) from None

    run_and_print(run(), output, format_resume_command(name, db))


def resume_thread(thread: str | None, db: str | None, output: OutputOptions) -> None:
    """Continue a thread, and print its answer.

    Raises:
        CommandError: If there is no such thread, or no answer.
    """

    async def run() -> CliRunResult:
        async with open_run_store(db, create=False, on_busy=warn_of_busy_database) as store:
            stored_thread = await _find_thread_to_resume(store.checkpointer, thread)
            if not stored_thread.messages:
                raise CommandError(describe_missing_question(stored_thread))
            if stored_thread.is_finished:
                print_warning(f"moa: thread {stored_thread.id} is already answered")
            run = CliRun(store, stored_thread.id, require_config(stored_thread), output, db)
            return await run.run_to_end(input_to_resume)

    run_and_print(run(), output, format_resume_command(thread, db) if thread else "moa resume")


async def _find_thread_to_resume(saver: Checkpointer, name: str | None) -> StoredThread:
    if name:
        return await find_thread(saver, name)
    unfinished = await read_threads(saver, 1, only=lambda t: bool(t.config and not t.is_finished))
    if not unfinished:
        raise CommandError("no thread is unfinished; `moa threads` lists all threads")
    return unfinished[0]


@dataclass(frozen=True)
class CliRun:
    """A run of a mixture on a thread."""

    store: RunStore
    thread: str
    mixture: MoAConfig
    output: OutputOptions
    db: str | None
    cache: NodeCache = field(default_factory=NodeCache)

    async def run_to_end(
        self, input_for_turn: InputForTurn, *, edit: ThreadEditor | None = None
    ) -> CliRunResult:
        """Run to the end, from a message or from the point where the run stopped.

        Args:
            input_for_turn: Returns the input of the graph.
            edit: Edits the thread before the run, while it is locked.

        Raises:
            CommandError: If there is no answer; the message says how to continue.
        """
        require_api_keys(self.mixture)
        view = choose_view(show_progress=self.output.progress)
        with show_startup_notice(show_progress=self.output.progress):
            graph = self._build_graph(stream_proposals=view.streams_proposals)
        config = build_run_config(self.thread, self.mixture)
        async with self.store.lock_thread(self.thread):
            try:
                if edit:
                    await edit(graph, config)
                progress = RunProgress.from_graph(
                    graph, self.mixture.prices, self.mixture.layer_policies()
                )
                run = await TurnRun.prepare(graph, config, input_for_turn)
                run.load_stored(progress)
                with StreamedAnswer() as answer:
                    await self._stream_updates(run, progress, view, answer)
                values = await self._read_answered_values(graph, config)
                return CliRunResult(
                    self.thread,
                    values,
                    answer.is_started,
                    self.mixture.prices,
                    is_kept=self.store.keeps_runs,
                )
            except Exception as error:
                raise CommandError(self._describe_failure(error)) from error

    async def _read_answered_values(
        self, graph: CompiledMoAGraph, config: RunnableConfig
    ) -> dict[str, Any]:
        """Read the state; a message of a person is not an answer.

        Raises:
            CommandError: If there is no answer.
        """
        values = await read_current_values(graph, config)
        if not isinstance(values["messages"][-1], AIMessage):
            raise CommandError(
                f"thread {self.thread} has no answer: the last writes of this run are not in the "
                "database"
            )
        return values

    def _describe_failure(self, error: Exception) -> str:
        """Describe the failure and how to continue; a prompt that is too long cannot be retried."""
        text = redacted_message(error)
        if isinstance(error, ContextOverflowError) or not self.store.keeps_runs:
            return text
        return f"{text}; continue with: {format_resume_command(self.thread, self.db)}"

    def _build_graph(self, *, stream_proposals: bool) -> CompiledMoAGraph:
        """Build the graph and its models, so that errors are reported before anything is stored."""
        builder = self.mixture.graph(
            lazy=False,
            stream_proposals=stream_proposals,
            trim_history=True,
            cache_policy=self.cache.policy_for(self.mixture),
        )
        return builder.compile(
            self.store.checkpointer, cache=self.cache.cache, name=self.mixture.name
        )

    async def _stream_updates(
        self,
        run: TurnRun,
        progress: RunProgress,
        view_class: type[ProgressView],
        answer: StreamedAnswer,
    ) -> None:
        """Show progress on standard error, and stream the answer to standard output."""
        streams_tokens = view_class.streams_proposals or self.output.streams_answer
        async with (
            view_class(progress) as view,
            aclosing(run.stream(progress, chunks=streams_tokens)) as updates,
        ):
            async for agent, chunk in updates:
                if chunk is None:
                    if agent.node == AGGREGATOR and agent.done:
                        answer.end_line()
                    view.show(agent)
                elif self.output.streams_answer and agent.node == AGGREGATOR and chunk.text:
                    await view.make_room_for_answer()
                    answer.write(chunk)


def input_to_resume(turn: Turn) -> GraphInput:
    """Return the input that continues a turn."""
    return turn.resume_input


def input_to_ask(turn: Turn, question: HumanMessage) -> GraphInput:
    """Return the input that asks a question, and print a note if it replaces another one."""
    if turn.status == "unanswered":
        print_warning(
            "moa: the last question of the thread was never answered; this one replaces it"
        )
    return turn.ask(question)


def run_and_print(
    coroutine: Coroutine[Any, Any, CliRunResult], output: OutputOptions, command: str
) -> None:
    """Run, and print the result; Ctrl-C stops the run and prints how to continue.

    Raises:
        CommandError: If there is no answer.
    """
    try:
        result = asyncio.run(coroutine)
    except KeyboardInterrupt:
        raise CommandError(f"interrupted; continue with: {command}", EXIT_INTERRUPTED) from None
    output.print_result(result)
