"""The command `moa eval recommend`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.commands.eval.options import OutOption, PlanArgument

EXAMPLES = (
    "moa eval recommend plan.toml --price 0.01",
    "moa eval recommend plan.toml --price 0.01 --benchmark gsm8k --to mixture.toml",
)


def recommend(
    plan: PlanArgument,
    price: Annotated[
        float,
        typer.Option(
            "--price",
            metavar="DOLLARS",
            min=0,
            help="Highest average cost of an answer in US dollars.",
        ),
    ],
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark",
            "-b",
            metavar="NAME",
            help="Name of the benchmark, if the plan has several.",
        ),
    ] = None,
    out: OutOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="File of the mixture; by default it is printed."),
    ] = None,
) -> None:
    """Print the best system for a price as TOML, with its evidence as comments.

    The system is on the Pareto front of those that `moa eval run` measured: no other system or
    variant is both cheaper and better. No model is called.
    """
    from moa_graph.cli.actions.eval_recommend import write_recommendation

    write_recommendation(plan, price, benchmark, out, to)
