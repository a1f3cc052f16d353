"""The command `moa eval judge`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.commands.eval.options import RunCodeOption, ScorerOption
from moa_graph.cli.options import MaxCostOption

EXAMPLES = (
    "moa eval judge out/alpaca_eval/moa-lite",
    "moa eval judge out/mt_bench --judge together:Qwen/Qwen2.5-72B-Instruct-Turbo",
    "moa eval judge out/questions/moa --against out/questions/gpt-4o",
    "moa eval judge out --judge offline:overlap",
    "moa eval judge out --judge openai:gpt-4.1 --judge judge.toml",
    "moa eval judge out/sums --scorer number",
)


def judge(  # long because of options and help text
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="OUT/BENCHMARK/NAME, or OUT or OUT/BENCHMARK for all systems in it.",
        ),
    ],
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            "-j",
            metavar="JUDGE",
            help="provider:model, or a TOML file with model, base_url, api_key_env, prices, ...; "
            "by default the judge of the benchmark. offline:overlap only counts words. "
            "Repeatable, for several judges.",
        ),
    ] = None,
    scorer: ScorerOption = None,
    run_code: RunCodeOption = False,
    prompt: Annotated[
        Path | None,
        typer.Option(
            "--prompt",
            metavar="FILE",
            help="File with the prompt of the judge; by default the published one.",
        ),
    ] = None,
    builtin_prompt: Annotated[
        bool,
        typer.Option(
            "--builtin-prompt", help="Use a prompt of moa_graph instead of the published one."
        ),
    ] = False,
    text_verdict: Annotated[
        bool,
        typer.Option(
            "--text-verdict",
            help="Read the words of the judge, in both orders, instead of log-probabilities: for "
            "judges whose provider returns none.",
        ),
    ] = False,
    reference_answers: Annotated[
        Path | None,
        typer.Option(
            "--reference-answers",
            metavar="FILE",
            help="MT-Bench's reference answers (gpt-4.jsonl).",
        ),
    ] = None,
    skills: Annotated[
        Path | None,
        typer.Option(
            "--skills", metavar="FILE", help="FLASK's skills (skillset_description.json)."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FOLDER",
            help="Compare with the system in this folder instead of the reference in the data.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="File with the data of the benchmark, if it has moved."
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="Parallel judgements.")
    ] = 8,
    max_cost: MaxCostOption = None,
) -> None:
    """Judge answers as their benchmark does.

    AlpacaEval: which of two answers is better, by the probabilities of the judge's first token.
    The provider must return logprobs; otherwise --text-verdict reads the words in both orders. Your
    own prompts are judged in the same way, against `output` in the data or another system.
    MT-Bench: a rating from 1 to 10 for each turn. FLASK: scores from 1 to 5 in three skills.
    With --scorer, or a benchmark with exact answers (gsm8k, math_500, gpqa, mmlu_pro, ifeval):
    right or wrong, without a model.

    The prompts are the published ones. AlpacaEval's come from the package alpaca_eval if it is
    installed; the others are downloaded once and checked. Figures from another prompt or judge are
    marked. Judgements are written to judgements.jsonl beside the answers. Each call is stored in
    OUT/ledger.sqlite and never paid for twice.

    Exit code: 0 if all answers are judged, 1 if judgements failed (run it again to repeat them), 3
    if the budget (--max-cost) left some out.
    """
    from moa_graph.cli.actions.eval_judge import JudgeOptions, judge_answers
    from moa_graph.evals.judging.setup import JudgeFilePaths

    files = JudgeFilePaths(prompt, reference_answers, skills, builtin_prompt)
    options = JudgeOptions(
        [*(judge or ()), *([f"scorer:{scorer}"] if scorer else [])],
        data,
        files,
        against,
        concurrency,
        max_cost,
        text_verdict,
        run_code=run_code,
    )
    judge_answers(folders, options)
