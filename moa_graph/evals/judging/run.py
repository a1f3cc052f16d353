"""Have the answers of a system judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from langchain_core.messages.ai import add_usage

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.evals.benchmarks.protocol import OfficialJudgement
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.judging.account import write_judgements
from moa_graph.evals.judging.cases import JudgementCase
from moa_graph.evals.judging.judge import BenchmarkJudge
from moa_graph.evals.judging.setup import JudgingTask
from moa_graph.evals.probing import AllFailedError, ProbedWork
from moa_graph.evals.results_file import JUDGEMENTS_FILE, JsonRow
from moa_graph.models.pricing import estimate_cost
from moa_graph.models.recorded import read_json_rows
from moa_graph.runs.budget import applicable_max_cost
from moa_graph.runs.job_progress import JobProgress
from moa_graph.runs.jobs import JobOutcome, run_jobs


@dataclass(frozen=True)
class JudgingResult:
    """Where the judgements are, and how many."""

    path: Path
    progress: JobProgress
    """What was done now."""
    judged: int
    """Judgements that there are."""
    failures: Mapping[str, str]
    """Why others are missing, by item (and turn)."""
    labels: tuple[str, ...]
    """What has to be said wherever figures from these judgements stand."""


async def judge_system(
    task: JudgingTask,
    call_store: CallStore,
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[JobProgress], None] = lambda _: None,
) -> JudgingResult:
    """Have the answers of a system judged; the judgements are written beside them.

    Called again, it goes on: a judgement that is in the call store is not paid for again, and what
    failed is asked again. Judgements that are there stay until one of the new ones succeeds.

    Args:
        task: What is judged, and how.
        call_store: Where each call is kept.
        concurrency: How many judgements are under way at a time.
        max_cost: As in `run_jobs`.
        show: As in `run_jobs`.

    Raises:
        ValueError: If the data do not fit the benchmark, or a key is missing.
        AllFailedError: If the first judgements all failed alike; no other was asked for.
    """
    judging = ProbedWork(BenchmarkJudge(task.judge, task.method, call_store).judge_case)
    cases = [case for item in task.benchmark.items for case in _cases_of_item(task, item)]
    rows = dict[tuple[Any, int], JsonRow]()

    def keep(case: JudgementCase, outcome: JobOutcome[JsonRow]) -> None:
        rows[case.item.id, case.turn] = _judgement_row(task, case, outcome)
        judging.check()

    try:
        progress = await run_jobs(
            cases,
            judging.run,
            keep,
            concurrency=concurrency,
            max_cost=applicable_max_cost(max_cost, [task.judge.label]),
            prices=task.judge.prices,
            show=show,
        )
    except AllFailedError as error:
        rows.clear()  # the judge is of no use: ties are none of its judgements
        raise AllFailedError(f"judge {task.judge.label}: {error}; choose another judge") from None
    finally:
        ordered = [rows[key] for case in cases if (key := (case.item.id, case.turn)) in rows]
        labels = _write_unless_all_failed(task, cases, rows)
    failures = {_describe_row(row): row["error"] for row in ordered if row["error"]}
    path = task.folder / JUDGEMENTS_FILE
    return JudgingResult(path, progress, len(ordered) - len(failures), failures, labels)


def write_unjudged(task: JudgingTask) -> None:
    """Write down that a judge made no judgement, unless it made some before."""
    cases = [case for item in task.benchmark.items for case in _cases_of_item(task, item)]
    _write_unless_all_failed(task, cases, {})


def _write_unless_all_failed(
    task: JudgingTask,
    cases: Sequence[JudgementCase],
    by_case: Mapping[tuple[Any, int], JsonRow],
) -> tuple[str, ...]:
    """Write the judgements, unless they are of no use and earlier ones may be."""
    tried = [(case, row) for case in cases if (row := by_case.get((case.item.id, case.turn)))]
    if has_judgements(task.folder) and all(row["error"] for _, row in tried):
        return ("no judgement succeeded, so that the earlier ones stay",)
    labels = write_judgements(task, len(cases), [row for _, row in tried])
    _write_official_format(task, [(case, row) for case, row in tried if not row["error"]])
    return labels


def has_judgements(folder: Path) -> bool:
    """Tell whether a judge made a judgement in its folder."""
    path = folder / JUDGEMENTS_FILE
    return path.exists() and any(row["error"] is None for row in read_json_rows(path))


def _write_official_format(
    task: JudgingTask, judged: Sequence[tuple[JudgementCase, JsonRow]]
) -> None:
    official = [
        OfficialJudgement(case, row, task.method.describe_prompt(case), task.opponent)
        for case, row in judged
    ]
    benchmark = benchmark_for(task.benchmark.name)
    if file := benchmark.format_judgements(task.answers.system, task.judge.label, official):
        file_name, text = file
        write_text(task.folder / file_name, text)


def _cases_of_item(task: JudgingTask, item: BenchmarkItem) -> list[JudgementCase]:
    answers = task.answers.by_item.get(item.id)
    return task.method.list_cases(item, answers) if answers else []


def _describe_row(row: JsonRow) -> str:
    return f"{row['id']}, turn {row['turn']}" if "turn" in row else str(row["id"])


def _judgement_row(task: JudgingTask, case: JudgementCase, outcome: JobOutcome[JsonRow]) -> JsonRow:
    label, prices = task.judge.label, task.judge.prices
    usages = [call.usage for call in outcome.calls]
    costs = [estimate_cost(label, usage, prices) for usage in usages]
    return {
        "id": case.item.id,
        "judge": label,
        **task.method.case_fields(case),
        **(outcome.result or {}),
        "usage": _sum_usages([usage for usage in usages if usage]),
        "cost": None if None in costs else sum(cost for cost in costs if cost is not None),
        "error": outcome.error,
    }


def _sum_usages(usages: Sequence[Any]) -> JsonRow | None:
    total: Any = reduce(add_usage, usages, None)
    return dict(total) if total else None
