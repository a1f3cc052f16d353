"""The command `moa report`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.options import DatabaseOption, ThreadArgument
from moa_graph.cli.registration import RUNS_PANEL

PANEL = RUNS_PANEL
EXAMPLES = ("moa report sky --out run.html", "moa report sky --turn 1 --out first.html")


def report_run(
    thread: ThreadArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File of the page; by default it is written to a pipe.",
        ),
    ] = None,
    turn: Annotated[
        int | None,
        typer.Option(
            "--turn",
            metavar="N",
            help="Number of the turn, from 1, or from the end as -1; by default the last one.",
        ),
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Write a run as an HTML page: one file, which needs no network.

    The page shows the result, the graph beside a timeline, tokens and cost, the answer beside the
    proposals with their common wording, their differences, and the prompt of each layer. Each turn
    of a thread has its own report.
    """
    from moa_graph.cli.actions.report import report_thread

    report_thread(thread, db, out, turn)
