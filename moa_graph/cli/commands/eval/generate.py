"""The command `moa eval generate`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.options import ConfigOption, MaxCostOption, PresetOption

EXAMPLES = (
    "moa eval generate -b alpaca_eval -p together --limit 40 --max-cost 5",
    "moa eval generate -b mt_bench -c mixture.toml --name mine",
    "moa eval generate -b prompts.txt -p offline --out try",
)


def generate(  # long because of options and help text
    benchmark: Annotated[
        str,
        typer.Option(
            "--benchmark",
            "-b",
            metavar="NAME",
            help="alpaca_eval, mt_bench, flask, math_500, gsm8k, gpqa, mmlu_pro, ifeval, one that "
            "a package adds, or a FILE of prompts: .jsonl, .json, .csv or .parquet (rows with "
            "instruction, prompt, question or turns), or .txt (one prompt a line).",
        ),
    ],
    preset: PresetOption = None,
    config: ConfigOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="The folder of the comparison.")
    ] = Path("out"),
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of the system; by default that of the mixture."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="File with the data of the benchmark; by default downloaded once.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            metavar="N",
            min=1,
            help="Answer only N items, spread evenly over the benchmark.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="Parallel items.")
    ] = 8,
    max_cost: MaxCostOption = None,
) -> None:
    """Answer a benchmark with a mixture.

    The answers are written to OUT/BENCHMARK/NAME in the format of the benchmark, with
    every proposal in proposals.jsonl and the setup in manifest.json.

    Each call is stored in OUT/ledger.sqlite. Run the same command again to continue
    after an interruption or a kill. No answer is paid for twice, failed items are
    answered again, and other mixtures in the same OUT share the calls.

    The model recorded:FILE replays outputs of AlpacaEval, MT-Bench or FLASK, and
    recorded:OUT/BENCHMARK/NAME/proposals.jsonl#layer_1_AGENT replays proposals.

    Exit code: 0 if every item has an answer, 1 if some failed, 3 if the budget
    (--max-cost) left some out.
    """
    from moa_graph.cli.actions.eval_generate import GenerateOptions, generate_answers
    from moa_graph.cli.choice import load_mixture

    if not preset and not config:
        raise typer.BadParameter("give a mixture: --preset or --config")
    task = GenerateOptions(
        benchmark, load_mixture(preset, config), out, name, data, limit, concurrency, max_cost
    )
    generate_answers(task)
