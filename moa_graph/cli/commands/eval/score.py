"""The command `moa eval score`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.options import JsonOption

EXAMPLES = (
    "moa eval score out/alpaca_eval/moa-lite",
    "moa eval score out/mt_bench/moa out/mt_bench/gpt-4o",
    "moa eval score out --json",
)


def score(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="OUT/BENCHMARK/NAME, or OUT or OUT/BENCHMARK for all systems in it.",
        ),
    ],
    gamed_baselines: Annotated[
        Path | None,
        typer.Option(
            "--gamed-baselines",
            metavar="FILE",
            help="AlpacaEval's table df_gamed.csv for the length-controlled win rate; by default "
            "downloaded once.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the scores of judged answers.

    AlpacaEval: win rate, discrete and length-controlled win rate with standard errors. MT-Bench:
    first turn, second turn, both, each category. FLASK: each skill, domain and difficulty. With
    several systems of a benchmark, the first is compared with each other one, on the instructions
    that both have a score for: which is better, or that the difference is within the noise.
    """
    from moa_graph.cli.actions.eval_score import print_scores

    print_scores(folders, gamed_baselines, as_json=as_json)
