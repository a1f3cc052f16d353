"""Write the report of a run."""

import shlex
import sys
from pathlib import Path

import typer

from moa_graph.cli.actions.draw import check_output_folder, write_output_file
from moa_graph.cli.errors import CommandError
from moa_graph.cli.thread_loading import load_thread
from moa_graph.run_report.report import report


def report_thread(
    name: str | None, db: str | None, out: Path | None, turn: int | None = None
) -> None:
    """Write the report of a turn, by default the last one, to a file or to standard output.

    Raises:
        CommandError: If there is no such turn, the file cannot be written, or standard output is
            a terminal.
        StoreError: If there is no such thread.
    """
    if out is None and sys.stdout.isatty():
        command = shlex.join(
            ["moa", "report", *filter(None, [name]), "--out", f"{name or 'run'}.html"]
        )
        raise CommandError(
            f"a report is an HTML page, not for a terminal; write it to a file: {command}"
        )
    check_output_folder(out)
    loaded_thread = load_thread(name, db, history=True)
    page = report(
        loaded_thread.values,
        loaded_thread.graph,
        history=loaded_thread.history,
        prices=loaded_thread.mixture.prices,
        turn=turn,
    )
    if out:
        write_output_file(out, page)
    else:
        typer.echo(page, nl=False)
