"""What a batch may spend."""

import asyncio

from moa_graph.batch.record_runner import Outcome
from moa_graph.runs.jobs import Tally


def count(tally: Tally, outcome: Outcome) -> None:
    """Take in what came of a record."""
    tally.done += not outcome.failed
    tally.failed += outcome.failed
    tally.calls += outcome.calls
    tally.tokens += outcome.tokens
    tally.spent += outcome.spent
    tally.unpriced += outcome.unpriced


class Budget:
    """Lets records begin while the money lasts.

    What a record will cost is taken to be what the dearest so far did; the first one is answered
    alone, so that this is known.

    Args:
        tally: What is spent.
        max_cost: US dollars; `None` for no bound.
    """

    def __init__(self, tally: Tally, max_cost: float | None) -> None:
        self._tally, self._most = tally, max_cost
        self._running, self._dearest, self._known = 0, 0.0, False
        self._changed = asyncio.Condition()

    async def begin(self) -> bool:
        """Wait until it is known whether one more record may begin, and tell."""
        async with self._changed:
            await self._changed.wait_for(self._decided)
            self._running += not self._tally.stopped
            return not self._tally.stopped

    async def end(self, outcome: Outcome | None) -> None:
        """Take in that a record is over; `None` if there was none to begin."""
        async with self._changed:
            self._running -= 1
            if outcome:
                count(self._tally, outcome)
                self._dearest = max(self._dearest, outcome.spent)
                self._known |= outcome.calls > 0
            self._changed.notify_all()

    def _decided(self) -> bool:
        if self._most is None or self._tally.stopped or self._affords_one_more(self._most):
            return True
        if self._running:  # they may turn out cheaper
            return False
        if self._tally.unpriced:
            self._tally.stopped = "a call did not say its tokens, so that its cost is not known"
        else:
            self._tally.stopped = (
                f"${self._most:g} were to be spent at most, {self._tally.money()} are, and the "
                f"dearest record cost ${self._dearest:.2g}"
            )
        return True

    def _affords_one_more(self, most: float) -> bool:
        if self._tally.unpriced or self._tally.spent >= most:
            return False
        expected = self._tally.spent + self._dearest * (self._running + 1)
        return expected <= most if self._known else not self._running
