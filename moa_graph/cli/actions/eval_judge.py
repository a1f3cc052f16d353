"""Implementation of `moa eval judge`: judge answers and print a summary."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from moa_graph.cli.errors import EXIT_FAILED, CommandError
from moa_graph.cli.jobs import (
    budget_error,
    check_prices,
    explain_interrupt,
    list_failures,
    lock_folder,
)
from moa_graph.cli.terminal.plain_text import strip_control_characters
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.run import JudgingResult, judge_system
from moa_graph.evals.judging.setup import (
    JudgeFilePaths,
    JudgingTask,
    official_judge_for_folder,
    prepare_judges,
)
from moa_graph.evals.results_file import ANSWERS_FILE, GENERATION_MANIFEST, JUDGES_FOLDER
from moa_graph.models.agent import build_model, find_key_variable
from moa_graph.runs.job_progress import CallTotals
from moa_graph.runs.progress_display import progress_display

CALL_STORE_FILE = "ledger.sqlite"


@dataclass(frozen=True)
class JudgeOptions:
    """Options of the command."""

    judges: Sequence[str]
    """The judges; by default that of each benchmark."""
    data: Path | None
    files: JudgeFilePaths
    against: Path | None
    concurrency: int
    max_cost: float | None
    text_verdict: bool = False
    run_code: bool = False
    """Whether the scorer `code` may run code of models."""


def judge_answers(paths: Sequence[Path], options: JudgeOptions) -> None:
    """Judge the answers in folders, one system after the other.

    Raises:
        CommandError: If a judgement is missing; the exit code tells why.
    """
    tasks, causes = list[JudgingTask](), list[CommandError]()
    for folder in find_system_folders(paths, GENERATION_MANIFEST):
        try:
            tasks += _prepare_judging(folder, options)
        except (CommandError, ValueError) as error:  # continue with the other folders
            causes.append(CommandError(str(error)))
    totals = CallTotals()
    causes += [cause for task in tasks if (cause := _judge_system(task, options, totals))]
    if causes:
        message = "; ".join(dict.fromkeys(map(str, causes)))
        raise CommandError(message, max(cause.exit_code for cause in causes))


def find_system_folders(paths: Sequence[Path], manifest_name: str) -> list[Path]:
    """Return the folders of systems: the given ones, or those inside of them.

    Raises:
        CommandError: If there is none.
    """
    system_folders = dict[Path, None]()
    for root in paths:
        inside = (
            path.parent
            for depth in ("", "*/", "*/*/")
            for path in root.glob(depth + manifest_name)
            if path.parent.parent.name != JUDGES_FOLDER or (path.parent / ANSWERS_FILE).exists()
        )
        folders = sorted(inside)
        if not folders:
            raise CommandError(
                f"{root}: no system in it; expected OUT, OUT/BENCHMARK or OUT/BENCHMARK/NAME with "
                f"a {manifest_name}"
            )
        system_folders |= dict.fromkeys(folders)
    return list(system_folders)


def _prepare_judging(folder: Path, options: JudgeOptions) -> list[JudgingTask]:
    judges = [read_judge(each) for each in options.judges] or [official_judge_for_folder(folder)]
    if options.text_verdict:
        judges = [replace(judge, text_verdict=True) for judge in judges]
    judges = [replace(judge, run_code=options.run_code) for judge in judges]
    for judge in judges:
        _check_judge(judge, options)
    return prepare_judges(
        folder, judges, data=options.data, files=options.files, against=options.against
    )


def _check_judge(judge_spec: Judge, options: JudgeOptions) -> None:
    key = judge_spec.agent and find_key_variable(judge_spec.agent)
    if key and not os.environ.get(key):
        raise CommandError(
            f"judge {judge_spec.label} needs a key: set {key}; or name another with "
            "--judge, such as offline:overlap, which is not a language model and only "
            "demonstrates the command"
        )
    if judge_spec.agent:
        build_model(judge_spec.agent)  # report an unknown provider before a download
    if options.max_cost is not None and judge_spec.agent:
        check_prices([judge_spec.label], judge_spec.prices, "the [prices] of the judge's TOML file")


def _judge_system(
    task: JudgingTask, options: JudgeOptions, totals: CallTotals
) -> CommandError | None:
    """Judge a system, and return the failures to report at the end."""
    folder = task.answers.folder
    out = folder.parent.parent
    try:
        with lock_folder(folder), CallStore(out / CALL_STORE_FILE) as call_store:
            judging = _run_judging(task, call_store, options, totals.spent)
    except ValueError as error:  # such as missing logprobs, which other benchmarks do not need
        return CommandError(f"{folder}: {error}")
    totals.add_totals(judging.progress)
    typer.echo(
        f"{folder}: {judging.judged:,} judgements by {task.judge.label}; in this run "
        f"{judging.progress.describe_calls()}"
    )
    for label in judging.labels:
        typer.echo(f"  note: {strip_control_characters(label)}")
    typer.echo(judging.path)
    return _failure_summary(judging, folder)


def _run_judging(
    task: JudgingTask, call_store: CallStore, options: JudgeOptions, spent: float
) -> JudgingResult:
    title = f"judging {task.answers.system} on {task.benchmark.name}"
    left = None if options.max_cost is None else max(0.0, options.max_cost - spent)
    with progress_display(title) as show:
        work = judge_system(
            task,
            call_store,
            concurrency=options.concurrency,
            max_cost=left,
            show=show,
        )
        with explain_interrupt(lambda: "judgements so far are stored"):
            return asyncio.run(work)


def _failure_summary(judging: JudgingResult, folder: Path) -> CommandError | None:
    if judging.progress.stopped:
        skipped = f"{folder}: {judging.progress.left:,} judgements were not made"
        return budget_error(skipped, judging.progress.stopped)
    if failures := judging.failures:
        what = "judgement" if len(failures) == 1 else "judgements"
        text = f"{folder}: {len(failures):,} {what} failed ({list_failures(failures)})"
        return CommandError(f"{text}; run the command again to retry them", EXIT_FAILED)
    return None
