"""List threads, and print one."""

import asyncio
import json
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moa_graph.cli.text import plain, print_json, print_run
from moa_graph.store import (
    Thread,
    find_thread,
    open_store,
    read_threads,
    read_values,
    readable,
    resume_command,
    run_config,
)


def list_threads(limit: int, db: str | None, *, as_json: bool) -> None:
    """Print the threads, newest first."""

    async def read() -> list[Thread]:
        async with open_store(db) as store:
            return await read_threads(store.saver, limit)

    found = asyncio.run(read())
    if as_json:
        typer.echo(json.dumps([_summary(thread) for thread in found], ensure_ascii=False, indent=2))
        return
    table = Table("thread", "asked", "mixture", "state", "question", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    table.columns[-1].overflow = "ellipsis"
    for thread in found:
        table.add_row(*(Text(plain(" ".join(cell.split()))) for cell in _cells(thread)))
    Console().print(table if found else "no threads yet; `moa ask` makes one")


def show_thread(name: str, db: str | None, *, as_json: bool) -> None:
    """Print a run.

    Raises:
        CommandError: If there is no such thread.
    """

    async def read() -> tuple[Thread, dict[str, Any]]:
        async with open_store(db) as store:
            thread = await find_thread(store.saver, name)
            mixture = readable(thread)
            graph = mixture.graph().compile(checkpointer=store.saver)
            return thread, await read_values(graph, run_config(name, mixture))

    thread, values = asyncio.run(read())
    if as_json:
        print_json(name, values)
        return
    typer.echo(f"{plain(thread.question)}\n")
    print_run(values)
    if not thread.finished:
        typer.echo(f"unfinished; continue with: {resume_command(name, db)}")


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
