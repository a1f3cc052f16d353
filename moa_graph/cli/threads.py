"""List threads, and print one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moa_graph.cli.errors import CommandError
from moa_graph.cli.store import (
    Thread,
    open_store,
    read_thread,
    read_threads,
    read_values,
    run_config,
)
from moa_graph.cli.text import plain, print_json, print_run


def list_threads(limit: int, db: Path | None, *, as_json: bool) -> None:
    """Print the threads, newest first."""

    async def read() -> list[Thread]:
        found: list[Thread] = []
        async with open_store(db) as saver:
            async for thread in read_threads(saver):
                found.append(thread)
                if len(found) == limit:
                    break
        return found

    found = asyncio.run(read())
    if as_json:
        typer.echo(json.dumps([_summary(thread) for thread in found], ensure_ascii=False, indent=2))
        return
    table = Table("thread", "asked", "mixture", "state", "question", box=None, pad_edge=False)
    table.columns[-1].no_wrap, table.columns[-1].overflow = True, "ellipsis"
    for thread in found:
        table.add_row(*(Text(plain(" ".join(cell.split()))) for cell in _cells(thread)))
    Console().print(table if found else "no threads yet; `moa ask` makes one")


def show_thread(name: str, db: Path | None, *, as_json: bool) -> None:
    """Print a run.

    Raises:
        CommandError: If there is no such thread.
    """

    async def read() -> tuple[Thread, dict[str, Any]]:
        async with open_store(db) as saver:
            thread = await read_thread(saver, name)
            if not thread or not thread.config:
                raise CommandError(f"no thread {name!r} of moa; `moa threads` lists them")
            graph = thread.config.graph().compile(checkpointer=saver)
            return thread, await read_values(graph, run_config(name, thread.config))

    thread, values = asyncio.run(read())
    if as_json:
        print_json(name, values)
        return
    typer.echo(f"{plain(thread.question)}\n")
    print_run(values)
    if not thread.finished:
        typer.echo(f"unfinished; continue with: moa resume {name}")


def _cells(thread: Thread) -> tuple[str, ...]:
    state = "answered" if thread.finished else "unfinished"
    asked = thread.when.astimezone().strftime("%Y-%m-%d %H:%M")
    return thread.id, asked, thread.config.name if thread.config else "?", state, thread.question


def _summary(thread: Thread) -> dict[str, Any]:
    return {
        "thread": thread.id,
        "asked": thread.when.isoformat(),
        "mixture": thread.config.name if thread.config else None,
        "finished": thread.finished,
        "question": thread.question,
    }
