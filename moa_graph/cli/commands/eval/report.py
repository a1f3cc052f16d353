"""The command `moa eval report`: its options."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = ("moa eval report out", "moa eval report out --to figures")


def report_comparison(
    out: Annotated[Path, typer.Argument(help="The folder of the comparison.")] = Path("out"),
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The folder of the report; by default OUT/report."),
    ] = None,
    gamed_baselines: Annotated[
        Path | None,
        typer.Option("--gamed-baselines", help="As of `moa eval score`."),
    ] = None,
) -> None:
    """Write a comparison up: index.html, one page without scripts, and each figure as PNG and SVG.

    A table for each benchmark with the paper's own figures beside, comparisons, curves of the
    analyses, quality against cost and TFLOPs, what the aggregator takes, and where every figure
    is from.
    """
    from moa_graph.cli.actions.eval_report import write_eval_report

    write_eval_report(out, to, gamed_baselines)
