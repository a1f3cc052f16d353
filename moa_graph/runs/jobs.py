"""Run many jobs in parallel, within a budget, and collect failures."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from moa_graph.errors import MoAError
from moa_graph.models.pricing import Prices
from moa_graph.redaction import redacted_message
from moa_graph.runs.budget import Budget
from moa_graph.runs.job_progress import CallTotals, JobProgress
from moa_graph.runs.model_calls import CallRecord, call_listener

Item = TypeVar("Item")
Result = TypeVar("Result")

_NO_ITEM: Any = object()


class PartialError(MoAError):
    """An item failed; the error contains the partial result."""

    def __init__(self, cause: str, result: Any) -> None:
        super().__init__(cause)
        self.result = result


@dataclass
class JobOutcome(Generic[Result]):
    """Result of one item."""

    result: Result | None = None
    """The result; after a failure, the partial result (see `PartialError`)."""
    error: str | None = None
    """Cause of a failure; `None` on success."""
    calls: list[CallRecord] = field(default_factory=list)
    """The model calls, in the order of their ends."""


async def run_jobs(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Result]],
    keep: Callable[[Item, JobOutcome[Result]], None],
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    prices: Prices | None = None,
    show: Callable[[JobProgress], None] = lambda _: None,
) -> JobProgress:
    """Run a job for each item, and store each result immediately.

    A cancellation (Ctrl-C under `asyncio.run`) cancels running items; stored results stay.

    Args:
        items: The items.
        work: Processes one item. An exception is a failure of that item only.
        keep: Stores a result. An exception ends the work.
        concurrency: Number of parallel items.
        max_cost: US dollars. No item starts that could exceed them together with running items, if
            each costs as much as the most expensive one so far. None starts either after an answer
            without token counts, whose cost is unknown. A failed call of unknown cost counts as
            much as the most expensive one. Running items are completed.
        prices: As in `estimate_cost`.
        show: Called after every call and every item.

    Returns:
        The progress.

    Raises:
        ValueError: If an option is invalid.
    """
    if concurrency < 1:
        raise ValueError(f"`concurrency`={concurrency}: expected a whole number above 0")
    progress, waiting = JobProgress(len(items)), iter(items)
    budget = Budget(progress, max_cost)

    def count_call(record: CallRecord) -> None:
        progress.count_call(record, prices)
        show(progress)

    async def worker() -> None:
        while await budget.start_job():
            if (item := next(waiting, _NO_ITEM)) is _NO_ITEM:
                return await budget.finish_job()
            outcome = await _run_job(item, work, count_call)
            keep(item, outcome)
            progress.count_job(failed=outcome.error is not None)
            await budget.finish_job(CallTotals.from_calls(outcome.calls, prices))
            show(progress)
        return None

    await run_workers(worker, min(concurrency, len(items)))
    return progress


async def run_workers(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Run several workers in parallel until all are done.

    Raises:
        Exception: The first error of a worker; the others are cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _run_job(
    item: Item, work: Callable[[Item], Awaitable[Result]], count_call: Callable[[CallRecord], None]
) -> JobOutcome[Result]:
    """Process an item; any error is its failure."""
    outcome = JobOutcome[Result]()
    try:
        with call_listener(count_call), call_listener(outcome.calls.append):
            outcome.result = await work(item)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this item's
        outcome.error, outcome.result = redacted_message(error), getattr(error, "result", None)
    return outcome
