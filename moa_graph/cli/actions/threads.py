"""List threads."""

import asyncio
import json
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from moa_graph.cli.forgiving_store import warn_of_busy_database
from moa_graph.cli.terminal.console import print_table
from moa_graph.cli.terminal.plain_text import print_notice, to_single_line
from moa_graph.cli.terminal.stacked_rows import COLUMN_GAP, stack_rows
from moa_graph.cli.terminal.tables import format_age
from moa_graph.runs.store import open_run_store
from moa_graph.runs.stored_threads import StoredThread, read_threads

MIN_QUESTION_WIDTH = 8  # minimum columns for a question
MIN_WIDE_WIDTH = 60  # columns below which the state is a single character


def print_threads(limit: int, db: str | None, *, as_json: bool) -> None:
    """Print the threads, newest first."""

    async def read() -> list[StoredThread]:
        async with open_run_store(db, create=False, on_busy=warn_of_busy_database) as store:
            return await read_threads(store.checkpointer, limit)

    threads = asyncio.run(read())
    if as_json:
        typer.echo(
            json.dumps([_thread_fields(thread) for thread in threads], ensure_ascii=False, indent=2)
        )
        return
    if threads:
        print_table(lambda width: build_threads_table(threads, width))
    else:
        print_notice("no threads yet; `moa ask` creates one")


def build_threads_table(threads: list[StoredThread], width: int) -> RenderableType:
    """Create the table of threads; names are wrapped and never truncated, to be copied."""
    wide = width >= MIN_WIDE_WIDTH
    rows = [
        [
            Text(to_single_line(thread.id)),
            Text(format_age(thread.updated_at), "dim"),
            *(
                [Text(to_single_line(_mixture_name(thread))), _format_state(thread)]
                if wide
                else [_state_mark(thread)]
            ),
        ]
        for thread in threads
    ]
    headings = ["thread", "asked", *(["mixture", "state"] if wide else [""])]
    columns = zip(headings, *rows, strict=True)
    widths = [max(cell_len(str(cell)) for cell in column) for column in columns]
    widths[0] = min(widths[0], max(10, width // 4))
    question_width = width - sum(widths) - COLUMN_GAP * len(widths)
    if question_width < MIN_QUESTION_WIDTH:
        return stack_rows(map(_stacked_cells, threads))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, each in zip(headings, widths, strict=True):
        table.add_column(heading, width=each, overflow="fold")
    table.add_column("question", max_width=question_width, no_wrap=True, overflow="ellipsis")
    for row, thread in zip(rows, threads, strict=True):
        table.add_row(*row, Text(to_single_line(thread.title)))
    return table


def _stacked_cells(thread: StoredThread) -> list[Text]:
    age = Text.assemble((format_age(thread.updated_at), "dim"), " ", _state_mark(thread))
    return [Text(to_single_line(thread.id)), age, Text(to_single_line(thread.title))]


def _format_state(thread: StoredThread) -> Text:
    if thread.is_damaged:
        return Text(thread.status_text, "red")
    if not thread.is_finished:
        return Text(thread.status_text, "red" if thread.stop_cause == "failed" else "yellow")
    return Text(thread.status_text, "yellow" if thread.failed_nodes else "green")


def _state_mark(thread: StoredThread) -> Text:
    """Return the state of a thread as one character."""
    if thread.is_damaged:
        return Text("✗", "red")
    if not thread.is_finished:
        return Text("✗", "red") if thread.stop_cause == "failed" else Text("…", "yellow")
    return Text("!", "yellow") if thread.failed_nodes else Text("✓", "green")


def _mixture_name(thread: StoredThread) -> str:
    return thread.config.name if thread.config else "?"


def _thread_fields(thread: StoredThread) -> dict[str, Any]:
    return {
        "thread": thread.id,
        "asked": thread.updated_at.isoformat(),
        "mixture": thread.config.name if thread.config else None,
        "finished": thread.is_finished,
        "state": thread.status_text,
        "failed": list(thread.failed_nodes),
        "title": thread.title,
        "question": thread.question,
    }
