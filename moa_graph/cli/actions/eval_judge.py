"""`moa eval judge`: have the answers of systems judged, and say what came of it."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from moa_graph.cli.actions.eval_generate import (
    SPENT,
    TOLD,
    check_prices,
    locked,
)
from moa_graph.cli.errors import FAILED, INTERRUPTED, CommandError
from moa_graph.cli.terminal.text import plain
from moa_graph.evals.call_store import Ledger
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.run import Judging, judge
from moa_graph.evals.judging.setup import (
    MANIFEST,
    Files,
    Task,
    official_judge,
    prepare,
)
from moa_graph.models.agent import build_model, key_variable
from moa_graph.runs.job_progress import progress

LEDGER = "ledger.sqlite"


@dataclass(frozen=True)
class Options:
    """How it is judged, as the options of the command say it."""

    judge: str | None
    data: Path | None
    files: Files
    against: Path | None
    concurrency: int
    max_cost: float | None


def judge_answers(places: Sequence[Path], options: Options) -> None:
    """Have the answers in folders judged, one system after the other.

    Raises:
        CommandError: If a judgement is missing; the exit code tells why.
    """
    tasks, causes = list[Task](), list[CommandError]()
    for folder in find_folders(places, MANIFEST):
        try:
            tasks.append(_prepare(folder, options))
        except (CommandError, ValueError) as error:  # it is this folder's; the others are judged
            causes.append(CommandError(str(error)))
    causes += [cause for task in tasks if (cause := _judge(task, options))]
    if causes:
        told = "; ".join(dict.fromkeys(map(str, causes)))
        raise CommandError(told, max(cause.exit_code for cause in causes))


def find_folders(places: Sequence[Path], file: str) -> list[Path]:
    """Find the folders of systems: those that are named, or that stand in what is named.

    Raises:
        CommandError: If there is none.
    """
    found = dict[Path, None]()
    for place in places:
        inside = (path.parent for depth in ("", "*/", "*/*/") for path in place.glob(depth + file))
        folders = sorted(inside)
        if not folders:
            raise CommandError(
                f"{place}: no system in it; expected OUT, OUT/BENCHMARK or OUT/BENCHMARK/NAME with "
                f"a {file}"
            )
        found |= dict.fromkeys(folders)
    return list(found)


def _prepare(folder: Path, options: Options) -> Task:
    chosen = read_judge(options.judge) if options.judge else official_judge(folder)
    _check(chosen, options)
    return prepare(folder, chosen, data=options.data, files=options.files, against=options.against)


def _check(chosen: Judge, options: Options) -> None:
    key = chosen.agent and key_variable(chosen.agent)
    if key and not os.environ.get(key):
        raise CommandError(
            f"judge {chosen.label} needs a key: set {key}; or name another with --judge, such as "
            "offline:overlap, which is no language model and only shows how it goes"
        )
    if chosen.agent:
        build_model(chosen.agent)  # a provider that nobody knows is told before a download
    if options.max_cost is not None:
        check_prices([chosen.label], chosen.prices, "the [prices] of the judge's TOML file")


def _judge(task: Task, options: Options) -> CommandError | None:
    """Judge a system; give what is to be complained of at the end."""
    folder = task.answers.folder
    out = folder.parent.parent
    try:
        with locked(folder), Ledger(out / LEDGER) as ledger:
            judging = _run(task, ledger, options)
    except ValueError as error:  # such as no logprobs, which another benchmark does not need
        return CommandError(f"{folder}: {error}")
    typer.echo(
        f"{folder}: {judging.judged:,} judgements by {task.judge.label}; now "
        f"{judging.tally.calls:,} calls, {judging.tally.tokens:,} tokens, {judging.tally.money()}"
    )
    for label in judging.labels:
        typer.echo(f"  note: {plain(label)}")
    typer.echo(judging.path)
    return _complain(judging, folder)


def _run(task: Task, ledger: Ledger, options: Options) -> Judging:
    title = f"judging {task.answers.system} on {task.benchmark.name}"
    with progress(title) as show:
        work = judge(
            task,
            ledger,
            concurrency=options.concurrency,
            max_cost=options.max_cost,
            show=show,
        )
        try:
            return asyncio.run(work)
        except KeyboardInterrupt:
            raise CommandError(
                "interrupted; the judgements that were made are kept: run the command again to "
                "go on",
                INTERRUPTED,
            ) from None


def _complain(judging: Judging, folder: Path) -> CommandError | None:
    if judging.tally.stopped:
        left = judging.tally.left
        text = f"{folder}: {left:,} judgements were not made: {judging.tally.stopped}"
        return CommandError(text, SPENT)
    if failures := judging.failures:
        told = [f"{item}: {plain(cause)}" for item, cause in list(failures.items())[:TOLD]]
        more = f"; and {len(failures) - TOLD:,} more" if len(failures) > TOLD else ""
        what = "judgement" if len(failures) == 1 else "judgements"
        text = f"{folder}: {len(failures):,} {what} failed ({'; '.join(told)}{more})"
        return CommandError(f"{text}; run the command again to ask for them again", FAILED)
    return None
