"""Implementation of `moa eval report`."""

from pathlib import Path

import typer

from moa_graph.cli.errors import CommandError
from moa_graph.evals.benchmarks.alpaca_eval.baselines import read_baselines
from moa_graph.evals.report.page import write_report


def write_eval_report(out: Path, to: Path | None, gamed_baselines: Path | None) -> None:
    """Write the report, and print its path.

    Raises:
        CommandError: If it cannot be written.
        ValueError: If there is nothing to report.
    """
    baselines = read_baselines(gamed_baselines) if gamed_baselines else None
    try:
        typer.echo(write_report(out, to, baselines=baselines))
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror or error}") from None
