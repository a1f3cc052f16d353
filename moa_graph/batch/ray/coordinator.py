"""The coordinator of a cluster: workers ask it before a record and report the result."""

import asyncio
import os
from collections.abc import Mapping
from time import monotonic

from moa_graph.batch.record_runner import RecordOutcome
from moa_graph.config.model import MoAConfig
from moa_graph.models.providers import provider_of
from moa_graph.runs.budget import Budget
from moa_graph.runs.job_progress import JobProgress

_SHARED_VARIABLES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}  # also in lower case
_SHARED_VARIABLES |= {"SSL_CERT_FILE", "SSL_CERT_DIR", "MOA_MAX_CONNECTIONS"}


def environment_for(mixture: MoAConfig) -> dict[str, str]:
    """Return the environment variables of keys, providers and proxies for a mixture."""
    keys = mixture.required_keys()
    words = set[str]().union(*(provider_of(each).variable_prefixes for each in mixture.labels()))
    return {
        name: value
        for name, value in os.environ.items()
        if name in keys or name.upper() in _SHARED_VARIABLES or name.partition("_")[0] in words
    }


class Coordinator:
    """Counts for all workers, and decides which records are read and started; an actor of Ray.

    A record whose worker is lost starts again elsewhere, but is counted once.

    Args:
        total: Number of records.
        max_cost: As in `run_batch`.
        ahead: Maximum number of records read ahead of the first unfinished one.
    """

    def __init__(self, total: int, max_cost: float | None, read_ahead: int) -> None:
        self._progress = JobProgress(total)
        self._budget = Budget(self._progress, max_cost)
        self._running = dict[int, asyncio.Future[bool]]()  # by line: whether it may start
        self._finished_lines = set[int]()  # lines
        self._written_count, self._read_ahead = 0, read_ahead
        self._environment: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._started_at = monotonic()

    async def elapsed_seconds(self) -> float:
        """Return the seconds since the start of the work; the clocks of machines differ."""
        return monotonic() - self._started_at

    async def set_environment(self, environment: Mapping[str, str]) -> None:
        """Store the variables with keys: Ray would log those of a `runtime_env`."""
        self._environment.update(environment)

    async def get_environment(self) -> Mapping[str, str]:
        """Return the variables to a worker."""
        return self._environment

    async def may_read(self, index: int) -> bool:
        """Wait until the record at an index may be read; return whether it is needed."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._progress.stopped or index < self._written_count + self._read_ahead
            )
        return not self._progress.stopped

    async def start_record(self, line: int) -> bool:
        """Return whether the record of a line may start, when this is known."""
        if line in self._finished_lines:  # its worker was lost
            return True
        if line not in self._running:  # else a lost worker has it: count it once
            self._running[line] = asyncio.ensure_future(self._budget.start_job())
        may_start = await asyncio.shield(self._running[line])
        if not may_start:
            self._running.pop(line, None)
        return may_start

    async def finish_record(self, line: int, outcome: RecordOutcome) -> None:
        """Record the outcome of a record."""
        if self._running.pop(line, None):
            self._finished_lines.add(line)
            outcome.count_in(self._progress)
            await self._budget.finish_job(outcome)

    async def exchange_progress(self, written_count: int, last_line: int) -> JobProgress:
        """Record how many records are written, up to which line; return the progress."""
        self._written_count = written_count
        self._finished_lines = {line for line in self._finished_lines if line > last_line}
        async with self._changed:
            self._changed.notify_all()
        return self._progress
