"""The command `moa eval judge`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli.options import MaxCostOption

EXAMPLES = (
    "moa eval judge out/alpaca_eval/moa-lite",
    "moa eval judge out/mt_bench --judge together:Qwen/Qwen2.5-72B-Instruct-Turbo",
    "moa eval judge out/questions/moa --against out/questions/gpt-4o",
    "moa eval judge out --judge offline:overlap",
    "moa eval judge out --judge openai:gpt-4.1 --judge judge.toml",
)


def judge(  # long by its options and its help text, not by what it does
    folders: Annotated[
        list[Path],
        typer.Argument(help="OUT/BENCHMARK/NAME, or OUT or OUT/BENCHMARK for all that is in it."),
    ],
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            "-j",
            help="provider:model, or a TOML file with model, base_url, api_key_env, prices, ...; "
            "by default the benchmark's own judge. offline:overlap only counts words. Given "
            "several times: several judges, side by side.",
        ),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(
            "--prompt", help="The judge's prompt as a file; by default the published one."
        ),
    ] = None,
    builtin_prompt: Annotated[
        bool,
        typer.Option(
            "--builtin-prompt", help="Use a prompt of our own, which is not the benchmark's."
        ),
    ] = False,
    text_verdict: Annotated[
        bool,
        typer.Option(
            "--text-verdict",
            help="Read the judge's words, in both orders, where the benchmark computes with "
            "log-probabilities: for judges whose provider gives none.",
        ),
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
    max_cost: MaxCostOption = None,
) -> None:
    """Have answers judged, as their benchmark does.

    AlpacaEval: which of two answers is better, by the probabilities of the judge's first token
    (its provider must give logprobs, or --text-verdict reads its words in both orders); prompts
    of your own are judged in the same way, against `output` in the data or another system.
    MT-Bench: a rating from 1 to 10 for each turn. FLASK: scores from 1 to 5 in three skills.

    The prompts are the published ones, AlpacaEval's from the package alpaca_eval where that is
    installed, the others downloaded once, and checked. Another prompt or another judge
    is possible, and said wherever its figures stand. Judgements are written to judgements.jsonl
    beside the answers; each call is kept in OUT/ledger.sqlite and never paid for twice.

    Exit code: 0 if all is judged, 1 if judgements failed (run it again to ask for them again), 3
    if the budget (--max-cost) left some unjudged.
    """
    from moa_graph.cli.actions.eval_judge import JudgeOptions, judge_answers
    from moa_graph.evals.judging.setup import JudgeFilePaths

    files = JudgeFilePaths(prompt, reference_answers, skills, builtin_prompt)
    options = JudgeOptions(judge or (), data, files, against, concurrency, max_cost, text_verdict)
    judge_answers(folders, options)
