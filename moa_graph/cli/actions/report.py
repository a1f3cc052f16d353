"""Write a run as a page."""

from pathlib import Path

import typer

from moa_graph.cli.actions.draw import write_output_file
from moa_graph.cli.thread_loading import load_thread
from moa_graph.run_report.report import report


def report_thread(name: str, db: str | None, out: Path | None) -> None:
    """Write the last run of a thread to a file, or to standard output.

    Raises:
        CommandError: If the file cannot be written.
        StoreError: If there is no such thread.
    """
    loaded_thread = load_thread(name, db, history=True)
    page = report(
        loaded_thread.values,
        loaded_thread.graph,
        history=loaded_thread.history,
        prices=loaded_thread.mixture.prices,
    )
    if out:
        write_output_file(out, page)
    else:
        typer.echo(page, nl=False)
