"""Run many jobs: so many at a time, counted, within a budget, each failure kept."""

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
    """An item failed; what there is of its result is kept with the failure."""

    def __init__(self, cause: str, result: Any) -> None:
        super().__init__(cause)
        self.result = result


@dataclass
class JobOutcome(Generic[Result]):
    """What came of one item."""

    result: Result | None = None
    """On failure, what there is of it (see `PartialError`)."""
    error: str | None = None
    """Why it failed; `None` on success."""
    calls: list[CallRecord] = field(default_factory=list)
    """The calls that it took, in the order in which they ended."""


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
    """Run a job for each item, and keep what came of it as soon as it is there.

    Cancelled (Ctrl-C under `asyncio.run`), it cancels what is under way; what was kept is kept.

    Args:
        items: The items.
        work: What is done with one. An exception is a failure of that item alone.
        keep: Stores what came of it. An exception ends the work.
        concurrency: How many items are under way at a time.
        max_cost: US dollars. No item is started that could exceed them, together with those under
            way, if each costs as much as the most expensive so far; or when an answer comes without
            its tokens, so that its cost is not known. A failed call of unknown cost is taken to
            cost as much as the most expensive one. Items under way are finished.
        prices: As in `estimate_cost`.
        show: Is told of every call and every item.

    Returns:
        What was done.

    Raises:
        ValueError: If an option makes no sense.
    """
    if concurrency < 1:
        raise ValueError(f"`concurrency`={concurrency}: expected a number from 1 on")
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
    """Run several workers at the same time, until each of them is done.

    Raises:
        Exception: The first that a worker raises; the others are cancelled.
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
    """Work on an item; whatever is raised is its failure."""
    outcome = JobOutcome[Result]()
    try:
        with call_listener(count_call), call_listener(outcome.calls.append):
            outcome.result = await work(item)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this item's
        outcome.error, outcome.result = redacted_message(error), getattr(error, "result", None)
    return outcome
