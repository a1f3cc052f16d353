"""What a batch may spend."""

import asyncio

from moa_graph.batch.record_runner import RecordOutcome
from moa_graph.runs.formatting import format_dollars
from moa_graph.runs.jobs import Tally


def add_outcome(progress: Tally, outcome: RecordOutcome) -> None:
    """Take in what came of a record."""
    progress.done += not outcome.failed
    progress.failed += outcome.failed
    progress.calls += outcome.calls
    progress.tokens += outcome.tokens
    progress.spent += outcome.spent
    progress.unpriced += outcome.unpriced


class BatchBudget:
    """Lets records begin while the money lasts.

    What a record will cost is taken to be what the dearest so far did; the first one is answered
    alone, so that this is known.

    Args:
        tally: What is spent.
        max_cost: US dollars; `None` for no bound.
    """

    def __init__(self, progress: Tally, max_cost: float | None) -> None:
        self._progress, self._max_cost = progress, max_cost
        self._running, self._highest_cost, self._has_cost_sample = 0, 0.0, False
        self._changed = asyncio.Condition()

    async def start_record(self) -> bool:
        """Wait until it is known whether one more record may begin, and tell."""
        async with self._changed:
            await self._changed.wait_for(self._is_decided)
            self._running += not self._progress.stopped
            return not self._progress.stopped

    async def finish_record(self, outcome: RecordOutcome | None) -> None:
        """Take in that a record is over; `None` if there was none to begin."""
        async with self._changed:
            self._running -= 1
            if outcome:
                add_outcome(self._progress, outcome)
                self._highest_cost = max(self._highest_cost, outcome.spent)
                self._has_cost_sample |= outcome.calls > 0
            self._changed.notify_all()

    def _is_decided(self) -> bool:
        if (
            self._max_cost is None
            or self._progress.stopped
            or self._can_afford_record(self._max_cost)
        ):
            return True
        if self._running:  # they may turn out cheaper
            return False
        if self._progress.unpriced:
            self._progress.stopped = "a call did not say its tokens, so that its cost is not known"
        else:
            self._progress.stopped = (
                f"${self._max_cost:g} were to be spent at most, {self._progress.money()} are, "
                f"and the "
                f"dearest record cost {format_dollars(self._highest_cost)}"
            )
        return True

    def _can_afford_record(self, max_cost: float) -> bool:
        if self._progress.unpriced or self._progress.spent >= max_cost:
            return False
        expected = self._progress.spent + self._highest_cost * (self._running + 1)
        return expected <= max_cost if self._has_cost_sample else not self._running
