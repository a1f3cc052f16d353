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


def generate(  # long by its options and its help text, not by what it does
    benchmark: Annotated[
        str,
        typer.Option(
            "--benchmark",
            "-b",
            help="alpaca_eval, mt_bench, flask, one that a package adds, or a FILE of prompts: "
            ".jsonl or .json (rows with "
            "instruction, prompt, question, or turns), or .txt (a prompt a line).",
        ),
    ],
    preset: PresetOption = None,
    config: ConfigOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the comparison.")] = Path(
        "out"
    ),
    name: Annotated[
        str | None,
        typer.Option("--name", help="What the system is called; by default as the mixture is."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="The benchmark's data as a file; by default they are downloaded once."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=1, help="Ask only N items, spread evenly over the benchmark."
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Items under way at a time.")
    ] = 8,
    max_cost: MaxCostOption = None,
) -> None:
    """Have a mixture answer a benchmark.

    The answers are written to OUT/BENCHMARK/NAME in the benchmark's own format,
    with every proposal in proposals.jsonl and what led to them in manifest.json.

    Each call is kept in OUT/ledger.sqlite. Interrupt the command or kill it, run
    it again, and it goes on: no answer is paid for twice, items that failed are
    asked again, and other mixtures in the same OUT share the calls.

    As a model, recorded:FILE replays outputs of AlpacaEval, MT-Bench or FLASK,
    and recorded:OUT/BENCHMARK/NAME/proposals.jsonl#layer_1_AGENT a proposal.

    Exit code: 0 if every item has an answer, 1 if some failed, 3 if the budget
    (--max-cost) left items unasked.
    """
    from moa_graph.cli.actions.eval_generate import GenerateOptions, generate_answers
    from moa_graph.cli.choice import load_mixture

    if not preset and not config:
        raise typer.BadParameter("give a mixture: --preset or --config")
    task = GenerateOptions(
        benchmark, load_mixture(preset, config), out, name, data, limit, concurrency, max_cost
    )
    generate_answers(task)
