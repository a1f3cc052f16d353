"""List threads."""

import asyncio
import json
from typing import Any

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from moa_graph.cli.terminal.tables import ago, console
from moa_graph.cli.terminal.text import line_of
from moa_graph.runs.store import Thread, open_store, read_threads

GAP = 2  # columns between two columns of a table
NARROW = 60  # columns below which there is no room for words about the run


def list_threads(limit: int, db: str | None, *, as_json: bool) -> None:
    """Print the threads, newest first."""

    async def read() -> list[Thread]:
        async with open_store(db, make=False) as store:
            return await read_threads(store.saver, limit)

    found = asyncio.run(read())
    if as_json:
        typer.echo(json.dumps([_summary(thread) for thread in found], ensure_ascii=False, indent=2))
        return
    out = console()
    out.print(threads_table(found, out.width) if found else "no threads yet; `moa ask` makes one")


def threads_table(threads: list[Thread], width: int) -> Table:
    """Make a table; names are folded, never cut: they are what one types."""
    wide = width >= NARROW
    rows = [
        [
            Text(line_of(thread.id)),
            Text(ago(thread.when), "dim"),
            *([Text(line_of(_mixture(thread))), _state(thread)] if wide else [_mark(thread)]),
        ]
        for thread in threads
    ]
    headings = ["thread", "asked", *(["mixture", "state"] if wide else [""])]
    columns = zip(headings, *rows, strict=True)
    widths = [max(cell_len(str(cell)) for cell in column) for column in columns]
    widths[0] = min(widths[0], max(10, width // 4))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, each in zip(headings, widths, strict=True):
        table.add_column(heading, width=each, overflow="fold")
    room = width - sum(widths) - GAP * len(widths)
    table.add_column("question", width=max(1, room), no_wrap=True, overflow="ellipsis")
    for row, thread in zip(rows, threads, strict=True):
        table.add_row(*row, Text(line_of(thread.question)))
    return table


def _state(thread: Thread) -> Text:
    if not thread.finished:
        return Text(thread.state, "red" if thread.stopped == "failed" else "yellow")
    return Text(thread.state, "yellow" if thread.failed else "green")


def _mark(thread: Thread) -> Text:
    """Say in one character how a thread fared."""
    if not thread.finished:
        return Text("✗", "red") if thread.stopped == "failed" else Text("…", "yellow")
    return Text("!", "yellow") if thread.failed else Text("✓", "green")


def _mixture(thread: Thread) -> str:
    return thread.config.name if thread.config else "?"


def _summary(thread: Thread) -> dict[str, Any]:
    return {
        "thread": thread.id,
        "asked": thread.when.isoformat(),
        "mixture": thread.config.name if thread.config else None,
        "finished": thread.finished,
        "state": thread.state,
        "failed": list(thread.failed),
        "question": thread.question,
    }
