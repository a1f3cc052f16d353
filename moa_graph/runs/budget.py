"""The budget of many jobs: how much money they may spend together."""

import asyncio
from collections.abc import Iterable

from moa_graph.models.pricing import is_free_model
from moa_graph.runs.formatting import format_dollars
from moa_graph.runs.job_progress import CallTotals, JobProgress


def applicable_max_cost(max_cost: float | None, labels: Iterable[str]) -> float | None:
    """Give `max_cost`, or `None` if all models are free: then a budget of 0 suffices."""
    return None if all(map(is_free_model, labels)) else max_cost


class Budget:
    """Lets jobs start while they cannot exceed `max_cost`.

    A job is expected to cost as much as the most expensive one so far. The first one runs alone,
    so that this is known.

    Args:
        progress: What the jobs have spent; whoever runs them keeps it up to date.
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
        """Wait until it is known whether one more job may start, and tell."""
        async with self._changed:
            await self._changed.wait_for(self._is_decided)
            may_start = self._can_afford_job()
            self._running += may_start
            if not may_start and self._progress.left:
                self._progress.stopped = self._progress.stopped or self._describe_stop()
            return may_start

    async def finish_job(self, totals: CallTotals | None = None) -> None:
        """Take in what a job that started cost; `None` if there was none to run."""
        async with self._changed:
            self._running -= 1
            if totals:
                self._finished_cost += totals.spent
                self._highest_cost = max(self._highest_cost, totals.spent)
                self._has_cost_sample |= totals.calls > 0
            self._changed.notify_all()

    def _is_decided(self) -> bool:
        """Whether one more may start, or never will: those that run may turn out cheaper."""
        return bool(self._progress.stopped) or self._can_afford_job() or not self._running

    def _can_afford_job(self) -> bool:
        if self._max_cost is None:
            return True
        progress = self._progress
        if progress.stopped or progress.unpriced or progress.spent >= self._max_cost:
            return False
        if not self._has_cost_sample:
            return not self._running
        committed = max(progress.spent, self._finished_cost + self._highest_cost * self._running)
        return committed + self._highest_cost <= self._max_cost

    def _describe_stop(self) -> str:
        if self._progress.unpriced:
            return "a call reported no tokens, so its cost is not known and `max_cost` cannot hold"
        budget = format_dollars(self._max_cost or 0.0)
        text = f"the budget is {budget}; {self._progress.format_spent()} are spent"
        if self._progress.spent >= (self._max_cost or 0.0):
            return text
        highest = format_dollars(self._highest_cost)
        return f"{text}, and the next one may cost {highest}, as the most expensive one did"
