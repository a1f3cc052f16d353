"""The command `moa eval report`: its options."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = ("moa eval report out", "moa eval report out --to figures")


def report_comparison(
    out: Annotated[Path, typer.Argument(help="The folder of the comparison.")] = Path("out"),
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Folder of the report; by default OUT/report."),
    ] = None,
    gamed_baselines: Annotated[
        Path | None,
        typer.Option("--gamed-baselines", metavar="FILE", help="As in `moa eval score`."),
    ] = None,
) -> None:
    """Write the report of a comparison: index.html without scripts, and figures as PNG and SVG.

    It contains a table for each benchmark with the figures of the paper, comparisons, curves of the
    analyses, quality against cost and TFLOPs, the proposals that the aggregator uses, and the
    source of each figure.
    """
    from moa_graph.cli.actions.eval_report import write_eval_report

    write_eval_report(out, to, gamed_baselines)
