"""The commands of `moa eval` and their options. What a command does is imported when it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from moa_graph.cli.errors import CommandError
from moa_graph.cli.options import (
    ConfigOption,
    JsonOption,
    PresetOption,
    format_examples,
)


class _EvalCommandGroup(TyperGroup):
    """The commands, each of which may lack a package of the extra."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            package = (missing.name or "").partition(".")[0]
            if package == "moa_graph":
                raise
            message = f"{package} is not installed; pip install 'moa_graph[eval]'"
            raise CommandError(message) from None


app = typer.Typer(
    cls=_EvalCommandGroup,
    help="Measure a mixture: AlpacaEval, MT-Bench, FLASK, or prompts of your own.",
    no_args_is_help=True,
)


@app.command(
    epilog=format_examples(
        "moa eval generate -b alpaca_eval -p together --limit 40 --max-cost 5",
        "moa eval generate -b mt_bench -c mixture.toml --name mine",
        "moa eval generate -b prompts.txt -p offline --out try",
    )
)
def generate(
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
        typer.Option("--limit", "-n", min=1, help="Ask so many items, spread over the benchmark."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Items under way at a time.")
    ] = 8,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, help="US dollars after which no further item is begun."),
    ] = None,
) -> None:
    """Have a mixture answer a benchmark.

    The answers are written to OUT/BENCHMARK/NAME in the benchmark's own format,
    with every proposal in proposals.jsonl and what led to them in manifest.json.

    Each call is kept in OUT/ledger.sqlite. Interrupt the command or kill it, run
    it again, and it goes on: no answer is paid for twice, items that failed are
    asked again, and other mixtures in the same OUT share the calls.

    As a model, recorded:FILE replays outputs of AlpacaEval, MT-Bench or FLASK,
    and recorded:OUT/BENCHMARK/NAME/proposals.jsonl#layer_1_AGENT a proposal.

    Exit code: 0 if every item has an answer, 1 if some failed, 3 if --max-cost
    was reached before all were asked.
    """
    from moa_graph.cli.actions.eval_generate import GenerateOptions, generate_answers
    from moa_graph.cli.choice import load_mixture

    if not preset and not config:
        raise typer.BadParameter("give a mixture: --preset or --config")
    task = GenerateOptions(
        benchmark, load_mixture(preset, config), out, name, data, limit, concurrency, max_cost
    )
    generate_answers(task)


@app.command(
    epilog=format_examples(
        "moa eval judge out/alpaca_eval/moa-lite",
        "moa eval judge out/mt_bench --judge together:Qwen/Qwen2.5-72B-Instruct-Turbo",
        "moa eval judge out/questions/moa --against out/questions/gpt-4o",
        "moa eval judge out --judge offline:overlap",
    )
)
def judge(
    folders: Annotated[
        list[Path],
        typer.Argument(help="OUT/BENCHMARK/NAME, or OUT or OUT/BENCHMARK for all that is in it."),
    ],
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            "-j",
            help="provider:model, or a TOML file with model, base_url, api_key_env, prices, ...; "
            "by default the benchmark's own judge. offline:overlap only counts words.",
        ),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(
            "--prompt", help="The judge's prompt as a file; by default the published one."
        ),
    ] = None,
    own_prompt: Annotated[
        bool,
        typer.Option("--own-prompt", help="Use a prompt of our own, which is not the benchmark's."),
    ] = False,
    reference_answers: Annotated[
        Path | None,
        typer.Option("--reference-answers", help="MT-Bench's reference answers (gpt-4.jsonl)."),
    ] = None,
    skills: Annotated[
        Path | None,
        typer.Option("--skills", help="FLASK's skills (skillset_description.json)."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help="Compare with the system in this folder, not with the reference in the data.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The benchmark's data, if they have moved.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Judgements under way at a time.")
    ] = 8,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, help="US dollars after which none is begun."),
    ] = None,
) -> None:
    """Have answers judged, as their benchmark does.

    AlpacaEval: which of two answers is better, by the probabilities of the judge's first token
    (its provider must give logprobs); prompts of your own are judged in the same way, against
    `output` in the data or another system. MT-Bench: a rating from 1 to 10 for each turn. FLASK:
    scores from 1 to 5 in three skills.

    The prompts are the published ones, from the packages alpaca_eval and fastchat or downloaded
    once, and checked. Another prompt or another judge is possible, and said wherever its figures
    stand. Judgements are written to judgements.jsonl beside the answers; each call is kept in
    OUT/ledger.sqlite and never paid for twice.

    Exit code: 0 if all is judged, 1 if judgements failed (run it again to ask for them again), 3
    if the money was spent before.
    """
    from moa_graph.cli.actions.eval_judge import JudgeOptions, judge_answers
    from moa_graph.evals.judging.setup import JudgeFilePaths

    files = JudgeFilePaths(prompt, reference_answers, skills, own_prompt)
    judge_answers(folders, JudgeOptions(judge, data, files, against, concurrency, max_cost))


@app.command(
    epilog=format_examples(
        "moa eval score out/alpaca_eval/moa-lite",
        "moa eval score out/mt_bench/moa out/mt_bench/gpt-4o",
        "moa eval score out --json",
    )
)
def score(
    folders: Annotated[
        list[Path],
        typer.Argument(help="OUT/BENCHMARK/NAME, or OUT or OUT/BENCHMARK for all that is in it."),
    ],
    gamed_baselines: Annotated[
        Path | None,
        typer.Option(
            "--gamed-baselines",
            help="AlpacaEval's table df_gamed.csv, which the length control needs; by default it "
            "is downloaded once.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the judgements come to.

    AlpacaEval: win rate, discrete and length-controlled win rate with standard errors. MT-Bench:
    first turn, second turn, both, each category. FLASK: each skill, domain and difficulty. Of
    several systems of a benchmark the first is compared with each other one, on the instructions
    that both have a score for: which is better, or that the difference is inside the noise.
    """
    from moa_graph.cli.actions.eval_score import print_scores

    print_scores(folders, gamed_baselines, as_json=as_json)


PlanArgument = Annotated[Path, typer.Argument(help="The plan, as a TOML file.", show_default=False)]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The folder of the comparison; by default the plan's `out`."),
]


@app.command(
    epilog=format_examples("moa eval plan examples/plan.toml", "moa eval plan table2.toml --json")
)
def plan(
    plan: PlanArgument,
    out: OutOption = None,
    answer_tokens: Annotated[
        int, typer.Option("--answer-tokens", min=1, help="Tokens of a usual answer.")
    ] = 500,
    as_json: JsonOption = False,
) -> None:
    """Print what a comparison will take: calls, tokens, money, time. Nobody is asked.

    Paid calls that systems share count once, and what is in the folder already not at all. A cost
    that is not known is called unknown, and what has no bound is said to have none.
    """
    from moa_graph.cli.actions.eval_run import print_preflight

    print_preflight(plan, out, answer_tokens, as_json=as_json)


@app.command(
    epilog=format_examples(
        "moa eval run examples/plan.toml", "moa eval run table2.toml --max-cost 50"
    )
)
def run(
    plan: PlanArgument,
    out: OutOption = None,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, help="US dollars after which nothing more is begun."),
    ] = None,
) -> None:
    """Do a whole comparison: every system of a plan on every benchmark, answered and judged.

    It is `moa eval generate` and `moa eval judge` over one folder: systems share what they ask
    alike, and run again, it goes on where it was and pays for nothing twice.

    Exit code: 0 if all is there, 1 if something failed (run it again to ask again), 3 if the
    money was spent before.
    """
    from moa_graph.cli.actions.eval_run import run_plan

    run_plan(plan, out, max_cost)


@app.command(epilog=format_examples("moa eval report out", "moa eval report out --to figures"))
def report(
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
