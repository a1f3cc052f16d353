"""Where the processes of a cluster ask before they begin a record, and tell what came of it."""

import asyncio
import os
from collections.abc import Mapping

from moa_graph.batch.answering import Outcome
from moa_graph.batch.budget import Budget
from moa_graph.config import MoAConfig
from moa_graph.evals.running import Tally


def environment(mixture: MoAConfig) -> dict[str, str]:
    """Pick the variables that a mixture's agents read: keys, and what else their providers' do."""
    keys = mixture.required_keys()
    prefixes = tuple({f"{label.partition(':')[0].upper()}_" for label in mixture.labels()})
    return {
        name: value
        for name, value in os.environ.items()
        if name in keys or name.startswith(prefixes)
    }


class Desk:
    """Counts for all workers, and lets records be read and begun; an actor of Ray.

    A record whose worker is lost begins again elsewhere; it is counted once.

    Args:
        total: How many records there are.
        max_cost: As in `run_batch`.
        ahead: How many records may be read before the first that is not kept.
    """

    def __init__(self, total: int, max_cost: float | None, ahead: int) -> None:
        self._tally = Tally(total)
        self._budget = Budget(self._tally, max_cost)
        self._running, self._over = set[int](), set[int]()  # lines
        self._kept, self._ahead = 0, ahead
        self._environment: dict[str, str] = {}
        self._changed = asyncio.Condition()

    async def equip(self, environment: Mapping[str, str]) -> None:
        """Take the variables that hold keys: Ray writes those of a `runtime_env` to its logs."""
        self._environment.update(environment)

    async def environment(self) -> Mapping[str, str]:
        """Give them to a worker."""
        return self._environment

    async def admit(self, place: int) -> bool:
        """Wait until there is room for the record at a place, from 0; tell if it is wanted."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._tally.stopped or place < self._kept + self._ahead
            )
        return not self._tally.stopped

    async def begin(self, line: int) -> bool:
        """Tell whether the record of a line may begin, when that is known."""
        if line in self._running | self._over:  # with a worker that is lost
            return True
        self._running.add(line)
        if await self._budget.begin():
            return True
        self._running.discard(line)
        return False

    async def end(self, line: int, outcome: Outcome) -> None:
        """Take in what came of a record that began."""
        if line in self._running:
            self._running.discard(line)
            self._over.add(line)
            await self._budget.end(outcome)

    async def look(self, kept: int, last: int) -> Tally:
        """Hear how many records are kept, and which line was the last; tell what is done."""
        self._kept = kept
        self._over = {line for line in self._over if line > last}
        async with self._changed:
            self._changed.notify_all()
        return self._tally
