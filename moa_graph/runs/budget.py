"""`Budget`: a cost limit that many jobs share."""

import asyncio
from collections.abc import Iterable

from moa_graph.models.pricing import is_free_model
from moa_graph.runs.formatting import format_dollars
from moa_graph.runs.job_progress import CallTotals, JobProgress

MAX_UNKNOWN_FAILURES = 10
"""Failed calls of unknown cost after which a budget stops, if no call had a known cost."""


def applicable_max_cost(max_cost: float | None, labels: Iterable[str]) -> float | None:
    """Return `max_cost`, or `None` if all models are free, so that a budget of 0 is enough."""
    return None if all(map(is_free_model, labels)) else max_cost


class Budget:
    """Starts jobs as long as they cannot exceed `max_cost`.

    A job is expected to cost as much as the most expensive one so far. The first job runs alone to
    find out. A failed call of unknown cost counts as much as the most expensive call so far.

    Args:
        progress: Spending of the jobs so far; the caller updates it.
        max_cost: US dollars; `None` for no limit.

    Raises:
        ValueError: If `max_cost` is negative.
    """

    def __init__(self, progress: JobProgress, max_cost: float | None) -> None:
        if max_cost is not None and max_cost < 0:
            raise ValueError(f"`max_cost`={max_cost}: expected US dollars, 0 or more")
        self._progress, self._max_cost = progress, max_cost
        self._running, self._has_cost_sample = 0, False
        self._finished_cost = self._highest_cost = 0.0
        self._changed = asyncio.Condition()

    async def start_job(self) -> bool:
        """Wait until it is known whether one more job may start, and return whether it may."""
        async with self._changed:
            await self._changed.wait_for(self._is_decided)
            may_start = self._can_afford_job()
            self._running += may_start
            if not may_start and self._progress.left:
                self._progress.stopped = self._progress.stopped or self._describe_stop()
            return may_start

    async def finish_job(self, totals: CallTotals | None = None) -> None:
        """Record the cost of a job that started; `None` if there was no job."""
        async with self._changed:
            self._running -= 1
            if totals:
                cost = self._assumed_cost(totals)
                self._finished_cost += cost
                self._highest_cost = max(self._highest_cost, cost)
                self._has_cost_sample |= totals.calls > totals.unpriced
            self._changed.notify_all()

    def _assumed_cost(self, totals: CallTotals) -> float:
        """Return the cost of calls, including an assumption for failures of unknown cost."""
        return totals.spent + totals.unpriced_failures * self._progress.highest_call

    def _is_decided(self) -> bool:
        """Whether the decision for one more job is final: running jobs may turn out cheaper."""
        return bool(self._progress.stopped) or self._can_afford_job() or not self._running

    def _can_afford_job(self) -> bool:
        if self._max_cost is None:
            return True
        spent = self._assumed_cost(self._progress)
        if self._progress.stopped or self._is_cost_unknown() or spent >= self._max_cost:
            return False
        if not self._has_cost_sample:
            return not self._running
        committed = max(spent, self._finished_cost + self._highest_cost * self._running)
        return committed + self._highest_cost <= self._max_cost

    def _is_cost_unknown(self) -> bool:
        """Whether no assumption is possible: no token counts, or no call of known cost."""
        progress = self._progress
        has_only_failed = progress.calls == progress.unpriced_failures >= MAX_UNKNOWN_FAILURES
        return progress.unpriced > progress.unpriced_failures or has_only_failed

    def _describe_stop(self) -> str:
        progress, budget = self._progress, format_dollars(self._max_cost or 0.0)
        if progress.unpriced > progress.unpriced_failures:
            models = ", ".join(progress.models_without_usage) or "a model"
            return (
                f"{models} answered without token counts, so the cost is unknown and the budget of "
                f"{budget} cannot be kept; leave the model out, or set no budget"
            )
        if self._is_cost_unknown():
            return (
                f"the first {progress.calls:,} calls failed at an unknown cost, so the budget of "
                f"{budget} cannot be kept; see why they fail, or set no budget"
            )
        text = f"budget of {budget} exhausted ({progress.format_spent()} spent"
        if count := progress.unpriced_failures:
            each = format_dollars(progress.highest_call)
            calls = "1 failed call" if count == 1 else f"{count:,} failed calls"
            text += f", {calls} of unknown cost counted as {each} each"
        if self._assumed_cost(progress) >= (self._max_cost or 0.0):
            return f"{text})"
        highest = format_dollars(self._highest_cost)
        return f"{text}, the next one may cost {highest})"
