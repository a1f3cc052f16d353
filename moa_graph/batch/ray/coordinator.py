"""Where the processes of a cluster ask before they begin a record, and tell what came of it."""

import asyncio
import os
from collections.abc import Mapping
from time import monotonic

from moa_graph.batch.record_runner import RecordOutcome
from moa_graph.config.model import MoAConfig
from moa_graph.models.providers import provider_of
from moa_graph.runs.budget import Budget
from moa_graph.runs.job_progress import JobProgress

_SHARED_VARIABLES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}  # also in small letters
_SHARED_VARIABLES |= {"SSL_CERT_FILE", "SSL_CERT_DIR", "MOA_MAX_CONNECTIONS"}


def environment_for(mixture: MoAConfig) -> dict[str, str]:
    """Pick the variables of a mixture's keys and providers, and of the way to any of them."""
    keys = mixture.required_keys()
    words = set[str]().union(*(provider_of(each).variable_prefixes for each in mixture.labels()))
    return {
        name: value
        for name, value in os.environ.items()
        if name in keys or name.upper() in _SHARED_VARIABLES or name.partition("_")[0] in words
    }


class Coordinator:
    """Counts for all workers, and lets records be read and begun; an actor of Ray.

    A record whose worker is lost begins again elsewhere; it is counted once.

    Args:
        total: How many records there are.
        max_cost: As in `run_batch`.
        ahead: How many records may be read before the first that is not kept.
    """

    def __init__(self, total: int, max_cost: float | None, read_ahead: int) -> None:
        self._progress = JobProgress(total)
        self._budget = Budget(self._progress, max_cost)
        self._running = dict[int, asyncio.Future[bool]]()  # by line: whether it may begin
        self._finished_lines = set[int]()  # lines
        self._written_count, self._read_ahead = 0, read_ahead
        self._environment: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._started_at = monotonic()

    async def elapsed_seconds(self) -> float:
        """Tell how many seconds ago the work began; the clocks of machines differ."""
        return monotonic() - self._started_at

    async def set_environment(self, environment: Mapping[str, str]) -> None:
        """Take the variables that hold keys: Ray writes those of a `runtime_env` to its logs."""
        self._environment.update(environment)

    async def get_environment(self) -> Mapping[str, str]:
        """Give them to a worker."""
        return self._environment

    async def may_read(self, index: int) -> bool:
        """Wait until there is room for the record at a place, from 0; tell if it is wanted."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._progress.stopped or index < self._written_count + self._read_ahead
            )
        return not self._progress.stopped

    async def start_record(self, line: int) -> bool:
        """Tell whether the record of a line may begin, when that is known."""
        if line in self._finished_lines:  # with a worker that is lost
            return True
        if line not in self._running:  # else it waits or runs with one that is lost: count it once
            self._running[line] = asyncio.ensure_future(self._budget.start_job())
        may_start = await asyncio.shield(self._running[line])
        if not may_start:
            self._running.pop(line, None)
        return may_start

    async def finish_record(self, line: int, outcome: RecordOutcome) -> None:
        """Take in what came of a record that began."""
        if self._running.pop(line, None):
            self._finished_lines.add(line)
            outcome.count_in(self._progress)
            await self._budget.finish_job(outcome)

    async def exchange_progress(self, written_count: int, last_line: int) -> JobProgress:
        """Hear how many records are kept, and which line was the last; tell what is done."""
        self._written_count = written_count
        self._finished_lines = {line for line in self._finished_lines if line > last_line}
        async with self._changed:
            self._changed.notify_all()
        return self._progress
