"""Judge the answers of a system."""

import asyncio
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
from moa_graph.evals.judging.proposal_scores import write_proposal_scores
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
    """The judgements of a system."""

    path: Path
    progress: JobProgress
    """Progress of this run."""
    judged: int
    """Number of judgements."""
    failures: Mapping[str, str]
    """Causes of missing judgements, by item (and turn)."""
    labels: tuple[str, ...]
    """Labels that must accompany figures from these judgements."""


async def judge_system(
    task: JudgingTask,
    call_store: CallStore,
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[JobProgress], None] = lambda _: None,
) -> JudgingResult:
    """Judge the answers of a system, and write the judgements beside them.

    A repeated call continues: judgements in the call store are not paid for again, and failed ones
    are repeated. Earlier judgements stay until a new one succeeds.

    Args:
        task: The judging task.
        call_store: The call store.
        concurrency: Number of parallel judgements.
        max_cost: As in `run_jobs`.
        show: As in `run_jobs`.

    Raises:
        ValueError: If the data do not match the benchmark, or a key is missing.
        AllFailedError: If the first judgements all failed with the same cause.
    """
    benchmark_judge = BenchmarkJudge(task.judge, task.method, call_store)
    judging = ProbedWork(benchmark_judge.judge_case, is_probed=task.judge.scorer is not None)
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
            max_cost=applicable_max_cost(max_cost, task.judge.paid_labels),
            prices=task.judge.prices,
            show=show,
        )
        if task.judge.scorer is not None:
            await asyncio.to_thread(write_proposal_scores, task)
    except AllFailedError as error:
        rows.clear()  # automatic ties are not judgements of the judge
        raise AllFailedError(f"judge {task.judge.label}: {error}; choose another judge") from None
    finally:
        ordered = [rows[key] for case in cases if (key := (case.item.id, case.turn)) in rows]
        labels = _write_unless_all_failed(task, cases, rows)
    failures = {_describe_row(row): row["error"] for row in ordered if row["error"]}
    path = task.folder / JUDGEMENTS_FILE
    return JudgingResult(path, progress, len(ordered) - len(failures), failures, labels)


def write_unjudged(task: JudgingTask) -> None:
    """Record that a judge made no judgement, unless it made some before."""
    cases = [case for item in task.benchmark.items for case in _cases_of_item(task, item)]
    _write_unless_all_failed(task, cases, {})


def _write_unless_all_failed(
    task: JudgingTask,
    cases: Sequence[JudgementCase],
    by_case: Mapping[tuple[Any, int], JsonRow],
) -> tuple[str, ...]:
    """Write the judgements, unless all failed and earlier ones exist."""
    tried = [(case, row) for case in cases if (row := by_case.get((case.item.id, case.turn)))]
    if has_judgements(task.folder) and all(row["error"] for _, row in tried):
        return ("no judgement succeeded, so that the earlier ones stay",)
    labels = write_judgements(task, len(cases), [row for _, row in tried])
    _write_official_format(task, [(case, row) for case, row in tried if not row["error"]])
    return labels


def has_judgements(folder: Path) -> bool:
    """Return whether the folder has a judgement of a judge."""
    path = folder / JUDGEMENTS_FILE
    return path.exists() and any(row["error"] is None for row in read_json_rows(path))


def _write_official_format(
    task: JudgingTask, judged: Sequence[tuple[JudgementCase, JsonRow]]
) -> None:
    official = [
        OfficialJudgement(case, row, task.method.describe_prompt(case), task.opponent)
        for case, row in judged
    ]
    benchmark = benchmark_for(task.benchmark.name, task.judge.label)
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
    usages = [call.usage for call in outcome.calls if call.is_billed]
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
