"""Have the answers of a system judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moa_graph.evals.benchmarks.alpaca_eval.judge import NO_LOGPROBS
from moa_graph.evals.call_store import Ledger
from moa_graph.evals.datasets import Item
from moa_graph.evals.judging.account import JUDGEMENTS, write_account
from moa_graph.evals.judging.cases import Case
from moa_graph.evals.judging.judge import Bench
from moa_graph.evals.judging.setup import Task
from moa_graph.evals.results_file import Row
from moa_graph.models.pricing import estimate_cost
from moa_graph.runs.jobs import (
    Outcome,
    Tally,
    limit,
    work_through,
)


@dataclass(frozen=True)
class Judging:
    """Where the judgements are, and how many."""

    path: Path
    tally: Tally
    """What was done now."""
    judged: int
    """Judgements that there are."""
    failures: Mapping[str, str]
    """Why others are missing, by item (and turn)."""
    labels: tuple[str, ...]
    """What has to be said wherever figures from these judgements stand."""


async def judge(
    task: Task,
    ledger: Ledger,
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[Tally], None] = lambda _: None,
) -> Judging:
    """Have the answers of a system judged; the judgements are written beside them.

    Called again, it goes on: a judgement that is in the ledger is not paid for again, and what
    failed is asked again. Judgements that are there stay until one of the new ones succeeds.

    Args:
        task: What is judged, and how.
        ledger: Where each call is kept.
        concurrency: How many judgements are under way at a time.
        max_cost: As in `work_through`.
        show: As in `work_through`.

    Raises:
        ValueError: If the data do not fit the benchmark, a key is missing, or the judge's
            provider gives no logprobs where these are the judgement.
    """
    bench = Bench(task.judge, task.method, ledger)
    cases = [case for item in task.benchmark.items for case in _cases(task, item)]
    rows = dict[tuple[Any, int], Row]()

    def keep(case: Case, outcome: Outcome[Row]) -> None:
        rows[case.item.id, case.turn] = _row(task, case, outcome)
        if NO_LOGPROBS in (outcome.error or ""):  # nor will it for the others
            raise ValueError(f"{task.judge.label}: {NO_LOGPROBS}; choose another judge")

    try:
        tally = await work_through(
            cases,
            bench.judge,
            keep,
            concurrency=concurrency,
            max_cost=limit(max_cost, [task.judge.label]),
            prices=task.judge.prices,
            show=show,
        )
    except ValueError:
        rows.clear()  # the judge is of no use: what it said of ties is none of its judgements
        raise
    finally:
        ordered = [rows[key] for case in cases if (key := (case.item.id, case.turn)) in rows]
        labels = _write(task, len(cases), ordered)
    failures = {_place(row): row["error"] for row in ordered if row["error"]}
    path = task.answers.folder / JUDGEMENTS
    return Judging(path, tally, len(ordered) - len(failures), failures, labels)


def _write(task: Task, wanted: int, rows: Sequence[Row]) -> tuple[str, ...]:
    """Write the judgements, unless they are of no use and earlier ones may be."""
    earlier = (task.answers.folder / JUDGEMENTS).exists()
    if earlier and all(row["error"] for row in rows):
        return ("no judgement succeeded, so that the earlier ones stay",)
    return write_account(task, wanted, rows)


def _cases(task: Task, item: Item) -> list[Case]:
    answers = task.answers.by_item.get(item.id)
    return task.method.cases(item, answers) if answers else []


def _place(row: Row) -> str:
    return f"{row['id']}, turn {row['turn']}" if "turn" in row else str(row["id"])


def _row(task: Task, case: Case, outcome: Outcome[Row]) -> Row:
    label, prices = task.judge.label, task.judge.prices
    usage = outcome.calls[-1].usage if outcome.calls else None
    return {
        "id": case.item.id,
        "judge": label,
        **task.method.facts(case),
        **(outcome.result or {}),
        "usage": dict(usage) if usage else None,
        "cost": estimate_cost(label, usage, prices) if outcome.calls else 0.0,
        "error": outcome.error,
    }
