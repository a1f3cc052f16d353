"""The command `moa resume`: its options."""

from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import (
    DatabaseOption,
    JsonOption,
    ProgressOption,
    ShowOption,
    check_thread_argument,
)
from moa_graph.cli.registration import RUNS_PANEL
from moa_graph.cli.startup import show_startup_notice

PANEL = RUNS_PANEL
EXAMPLES = ("moa resume", "moa resume sky")


def resume(
    thread: Annotated[
        str | None,
        typer.Argument(
            help="Name of the thread; by default the last unfinished one.",
            autocompletion=completion.complete_threads,
            callback=check_thread_argument,
        ),
    ] = None,
    db: DatabaseOption = None,
    show: ShowOption = False,
    as_json: JsonOption = False,
    progress: ProgressOption = None,
) -> None:
    """Continue an interrupted or failed run. Calls whose answers are stored are not repeated."""
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.run import OutputOptions, resume_thread

    resume_thread(thread, db, OutputOptions(show, as_json, progress))
