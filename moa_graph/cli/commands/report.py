"""The command `moa report`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.options import DatabaseOption, ThreadArgument
from moa_graph.cli.registration import RUNS_PANEL

PANEL = RUNS_PANEL
EXAMPLES = ("moa report sky --out run.html",)


def report_run(
    thread: ThreadArgument = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; without it, pipe the page somewhere."),
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Write the last run of a thread as an HTML page: one file, which needs no network.

    It has the drawing with the run on it, a timeline, the proposals beside the answer, what each
    layer read, tokens and cost, and which proposals the answer is worded like.
    """
    from moa_graph.cli.actions.report import report_thread

    report_thread(thread, db, out)
