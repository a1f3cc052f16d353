"""Run a mixture from the command line: ask, watch, print."""

import asyncio
import os
import secrets
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StreamMode

from moa_graph.cli.choice import choose
from moa_graph.cli.errors import INTERRUPTED, CommandError
from moa_graph.cli.live import LiveView
from moa_graph.cli.store import (
    CompiledMoA,
    Saver,
    Thread,
    open_store,
    read_thread,
    read_threads,
    read_values,
    run_config,
)
from moa_graph.cli.text import plain, print_answer, print_failures, print_json, print_run
from moa_graph.config import MoAConfig
from moa_graph.naming import AGGREGATOR
from moa_graph.secrecy import describe


@dataclass(frozen=True)
class Output:
    """What is printed."""

    show: bool
    json: bool

    @property
    def streams(self) -> bool:
        """Whether the answer appears word by word."""
        return sys.stdout.isatty() and not (self.json or self.show)

    def print(self, thread: str, values: dict[str, Any]) -> None:
        """Print a result; what was streamed is not printed again."""
        if self.json:
            print_json(thread, values)
        elif self.show:
            print_run(values)
        elif not self.streams:
            print_answer(values["messages"][-1].text)
        else:
            typer.echo()


def ask_mixture(
    content: str, chosen: MoAConfig | None, thread: str | None, db: Path | None, output: Output
) -> None:
    """Ask, and print the answer.

    Args:
        content: The question, with what is attached.
        chosen: The mixture; by default the one that the thread was last asked with.
        thread: The thread to go on with; by default a new one.
        db: The database.
        output: What is printed.

    Raises:
        CommandError: If there is no answer; the message says how to go on.
    """
    name = thread or secrets.token_hex(4)

    async def run() -> None:
        async with open_store(db) as saver:
            known = await read_thread(saver, name) if thread else None
            if known and not known.finished:
                typer.echo(f"moa: thread {name} has a question that was never answered", err=True)
            mixture = chosen or (known and known.config) or choose()
            await _answer(saver, name, mixture, {"messages": [HumanMessage(content)]}, output)

    _run(run(), name)


def resume_thread(thread: str | None, db: Path | None, output: Output) -> None:
    """Continue a thread, and print its answer.

    Raises:
        CommandError: If there is no such thread, or no answer.
    """

    async def run() -> None:
        async with open_store(db) as saver:
            found = await _find(saver, thread)
            if found.config is None:
                raise CommandError(f"thread {found.id!r} was not written by moa: resume it there")
            if found.finished:
                typer.echo(f"moa: thread {found.id} is already answered", err=True)
            await _answer(saver, found.id, found.config, None, output)

    _run(run(), thread or "")


async def _find(saver: Saver, name: str | None) -> Thread:
    if name:
        if thread := await read_thread(saver, name):
            return thread
        raise CommandError(f"no thread {name!r}; `moa threads` lists them")
    async for thread in read_threads(saver):
        if not thread.finished and thread.config:
            return thread
    raise CommandError("no thread is unfinished; `moa threads` lists all")


async def _answer(
    saver: Saver, name: str, mixture: MoAConfig, message: dict[str, Any] | None, output: Output
) -> None:
    """Run the graph to its end, and print what it gives."""
    if missing := [key for key in mixture.required_keys() if not os.environ.get(key)]:
        raise CommandError(f"{mixture.name!r} needs a key: set {' and '.join(missing)}")
    graph = mixture.graph().compile(checkpointer=saver, name=mixture.name)
    config = run_config(name, mixture)
    try:
        await _watch(graph, message, config, output)
    except Exception as error:
        raise CommandError(f"{describe(error)}; continue with: moa resume {name}") from error
    values = await read_values(graph, config)
    output.print(name, values)
    print_failures(values)
    if sys.stderr.isatty():
        typer.echo(f"thread {name}", err=True)


async def _watch(
    graph: CompiledMoA,
    message: dict[str, Any] | None,
    config: RunnableConfig,
    output: Output,
) -> None:
    """Show the run on standard error, and stream the answer where someone reads along."""
    modes: list[StreamMode] = ["tasks", "messages"] if output.streams else ["tasks"]
    agents = {
        n: m for n, node in graph.builder.nodes.items() if (m := (node.metadata or {}).get("model"))
    }
    with LiveView(agents) as view:
        if message is None:
            stored = [task.name for task in (await graph.aget_state(config)).tasks if task.result]
            view.keep((await read_values(graph, config))["proposals"], stored)
        event: Any
        async for mode, event in graph.astream(
            message, config, stream_mode=modes, durability="sync"
        ):
            if mode == "tasks":
                view.update(event)
            elif event[1].get("langgraph_node") == AGGREGATOR and event[0].text:
                view.hand_over(AGGREGATOR)
                sys.stdout.write(plain(event[0].text))
                sys.stdout.flush()


def _run(coroutine: Coroutine[Any, Any, None], thread: str) -> None:
    try:
        asyncio.run(coroutine)
    except KeyboardInterrupt:
        command = f"moa resume {thread}".strip()
        raise CommandError(f"interrupted; continue with: {command}", INTERRUPTED) from None
