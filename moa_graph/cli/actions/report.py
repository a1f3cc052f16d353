"""Write a run as a page."""

from pathlib import Path

import typer

from moa_graph.cli.actions.draw import write_file
from moa_graph.cli.thread_loading import look_at
from moa_graph.run_report.report import report


def report_thread(name: str, db: str | None, out: Path | None) -> None:
    """Write the last run of a thread to a file, or to standard output.

    Raises:
        CommandError: If the file cannot be written.
        StoreError: If there is no such thread.
    """
    read = look_at(name, db, history=True)
    page = report(read.values, read.graph, history=read.history, prices=read.mixture.prices)
    if out:
        write_file(out, page)
    else:
        typer.echo(page, nl=False)
