"""The command `moa eval curve`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.options import JsonOption

EXAMPLES = ("moa eval curve out", "moa eval curve out --system moa --benchmark gsm8k --json")


def curve(
    out: Annotated[Path, typer.Argument(help="The folder of the comparison.")] = Path("out"),
    system: Annotated[
        str | None,
        typer.Option(
            "--system",
            metavar="NAME",
            help="Name of a mixture; by default all with several layers.",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark", "-b", metavar="NAME", help="Name of a benchmark; by default all."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FOLDER", help="Folder of the pictures; by default OUT/report."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what an early stop would have saved and cost, for each threshold, without a call.

    The command replays stored proposals: a mixture stops at the first layer whose proposals agree,
    as measured by moa_graph.agreement, and its aggregator writes. The quality comes from stored
    judgements or an exact scorer. A plot of quality against cost is written as PNG and SVG.
    """
    from moa_graph.cli.actions.eval_curve import print_curves

    print_curves(out, system, benchmark, to, as_json=as_json)
