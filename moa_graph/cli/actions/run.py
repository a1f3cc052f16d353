"""Run a mixture from the command line: ask, watch, print."""

import asyncio
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import typer
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StreamMode

from moa_graph.cli.choice import choose
from moa_graph.cli.errors import INTERRUPTED, CommandError
from moa_graph.cli.node_cache import NodeCache, print_savings
from moa_graph.cli.startup import starting
from moa_graph.cli.terminal.answer import Answer
from moa_graph.cli.terminal.live import View, kind_of_view
from moa_graph.cli.terminal.progress import Progress
from moa_graph.cli.terminal.text import (
    print_answer,
    print_failures,
    print_json,
    print_run,
    warn,
)
from moa_graph.config.model import MoAConfig
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.policy import Rules, rules_of_layers
from moa_graph.graph.turns import Turn
from moa_graph.models.pricing import Prices
from moa_graph.redaction import describe
from moa_graph.runs.record import read_run
from moa_graph.runs.store import (
    CompiledMoA,
    Saver,
    Store,
    Thread,
    find_thread,
    no_question,
    open_store,
    present_values,
    read_newest_turn,
    read_thread,
    read_threads,
    read_values,
    readable,
    resume_command,
    run_config,
)

Edit = Callable[[CompiledMoA, RunnableConfig], Awaitable[Any]]
GraphInput = dict[str, Any] | None
ChooseInput = Callable[[Turn], GraphInput]
"""Gives what the graph is invoked with, for the newest turn of the thread."""


@dataclass(frozen=True)
class Output:
    """What is printed."""

    show: bool = False
    json: bool = False
    progress: bool | None = None
    """Whether the run is shown on standard error; by default where that is a terminal."""

    @property
    def streams(self) -> bool:
        """Whether the answer appears word by word."""
        return sys.stdout.isatty() and not (self.json or self.show)

    def print(self, result: "Result") -> None:
        """Print a result; what was streamed is not printed again."""
        if self.json:
            print_json(result.thread, result.values)
        elif self.show:
            print_run(result.values)
        elif result.streamed:
            typer.echo()
        else:
            print_answer(result.values["messages"][-1].text)
        print_failures(result.values)
        print_savings(read_run(result.values, prices=result.prices))


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    thread: str
    values: dict[str, Any]
    streamed: bool
    """Whether its answer was printed while it came."""
    prices: Prices


def ask_mixture(
    content: str,
    chosen: MoAConfig | None,
    thread: str | None,
    db: str | None,
    output: Output,
    cache: NodeCache,
) -> None:
    """Ask, and print the answer.

    Args:
        content: The question, with what is attached.
        chosen: The mixture; by default the one that the thread was last asked with.
        thread: The thread to go on with; by default a new one.
        db: The database.
        output: What is printed.
        cache: Where answers are kept, if they are.

    Raises:
        CommandError: If there is no answer; the message says how to go on.
    """
    name = thread or secrets.token_hex(4)

    async def run() -> Result:
        async with open_store(db) as store:
            known = await read_thread(store.saver, name) if thread else None
            mixture = chosen or (known and known.config) or choose()
            try:
                run = Run(store, name, mixture, output, db, cache)
                return await run.to_its_end(lambda turn: ask(turn, HumanMessage(content)))
            except asyncio.CancelledError:
                if await read_thread(store.saver, name):
                    raise
                raise CommandError("interrupted; nothing was stored yet", INTERRUPTED) from None

    run_and_print(run(), output, resume_command(name, db))


def resume_thread(thread: str | None, db: str | None, output: Output) -> None:
    """Continue a thread, and print its answer.

    Raises:
        CommandError: If there is no such thread, or no answer.
    """

    async def run() -> Result:
        async with open_store(db, make=False) as store:
            found = await _find(store.saver, thread)
            if not found.messages:
                raise CommandError(no_question(found))
            if found.finished:
                typer.echo(f"moa: thread {found.id} is already answered", err=True)
            run = Run(store, found.id, readable(found), output, db)
            return await run.to_its_end(resume)

    run_and_print(run(), output, resume_command(thread, db) if thread else "moa resume")


async def _find(saver: Saver, name: str | None) -> Thread:
    if name:
        return await find_thread(saver, name)
    unfinished = await read_threads(saver, 1, only=lambda t: bool(t.config and not t.finished))
    if not unfinished:
        raise CommandError("no thread is unfinished; `moa threads` lists all")
    return unfinished[0]


@dataclass(frozen=True)
class Run:
    """A run of a mixture on a thread."""

    store: Store
    thread: str
    mixture: MoAConfig
    output: Output
    db: str | None
    cache: NodeCache = field(default_factory=NodeCache)

    async def to_its_end(self, choose: ChooseInput, *, edit: Edit | None = None) -> Result:
        """Run it, from a message on or from where it stopped.

        Args:
            choose: Gives the input of the graph.
            edit: What is done to the thread before, while it is held.

        Raises:
            CommandError: If there is no answer; the message says how to go on.
        """
        check_keys(self.mixture)
        view = kind_of_view(wanted=self.output.progress)
        with starting(wanted=self.output.progress):
            # Not lazy: a mistake shows before anything is stored.
            options = {"stream_proposals": view.streams, "cache_policy": self.cache.policy}
            builder = self.mixture.graph(lazy=False, **options)
            graph = builder.compile(
                self.store.saver, cache=self.cache.cache, name=self.mixture.name
            )
        config = run_config(self.thread, self.mixture)
        async with self.store.lock(self.thread):
            try:
                if edit:
                    await edit(graph, config)
                message = choose(await read_newest_turn(graph, config))
                with closing(Answer()) as answer:
                    await self._watch(graph, message, config, view, answer)
                values = await read_values(graph, config)
                return Result(self.thread, values, answer.begun, self.mixture.prices)
            except Exception as error:
                command = resume_command(self.thread, self.db)
                raise CommandError(f"{describe(error)}; continue with: {command}") from error

    async def _watch(
        self,
        graph: CompiledMoA,
        message: GraphInput,
        config: RunnableConfig,
        kind: type[View],
        answer: Answer,
    ) -> None:
        """Show the run on standard error, and stream the answer where someone reads along."""
        reads_along = kind.streams or self.output.streams
        modes: list[StreamMode] = ["tasks", "messages"] if reads_along else ["tasks"]
        progress = Progress.of(graph, _rules(self.mixture))
        if message is None:
            snapshot = await graph.aget_state(config)
            stored = [task.name for task in snapshot.tasks if task.result]
            progress.keep(present_values(graph, snapshot)["proposals"], stored)
        event: Any
        async with kind(progress) as view:
            async for mode, event in graph.astream(
                message, config, stream_mode=modes, durability="sync"
            ):
                if mode == "tasks":
                    view.update(event)
                    continue
                piece, node = event[0], event[1].get("langgraph_node")
                view.hear(node, piece)
                if self.output.streams and node == AGGREGATOR and piece.text:
                    await view.hand_over()
                    answer.write(piece)


def resume(turn: Turn) -> GraphInput:
    """Give the input that goes on with a turn."""
    return turn.resume_input


def ask(turn: Turn, question: HumanMessage) -> GraphInput:
    """Give the input that asks a question, and say so where it replaces another."""
    if turn.status == "unanswered":
        warn("moa: the last question of the thread was never answered; this one replaces it")
    return turn.ask(question)


def _rules(mixture: MoAConfig) -> list[Rules]:
    widths = [sum(agent.samples for agent in layer.values()) for layer in mixture.layers]
    return rules_of_layers(widths, mixture.quorum, mixture.grace, mixture.deadline)


def check_keys(mixture: MoAConfig) -> None:
    """See that the keys of a mixture are set.

    Raises:
        CommandError: If one is not; the message names them all.
    """
    if missing := [key for key in mixture.required_keys() if not os.environ.get(key)]:
        raise CommandError(f"{mixture.name!r} needs a key: set {' and '.join(missing)}")


def run_and_print(coroutine: Coroutine[Any, Any, Result], output: Output, command: str) -> None:
    """Run, and print what came of it; Ctrl-C stops the run and says how to go on.

    Raises:
        CommandError: If there is no answer.
    """
    try:
        result = asyncio.run(coroutine)
    except KeyboardInterrupt:
        raise CommandError(f"interrupted; continue with: {command}", INTERRUPTED) from None
    output.print(result)
    if sys.stderr.isatty():
        typer.echo(f"thread {result.thread}", err=True)
