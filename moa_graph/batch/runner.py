"""Process records in this process: in parallel, in order, within a budget."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

from moa_graph.batch.input import BatchRecord
from moa_graph.batch.record_runner import RecordOutcome
from moa_graph.runs.budget import Budget
from moa_graph.runs.job_progress import JobProgress
from moa_graph.runs.jobs import run_workers

READ_AHEAD_FACTOR = 8
"""Limit of records read ahead of the first unfinished one, as a multiple of `concurrency`."""


async def run_batch(
    records: Iterator[BatchRecord | None],
    answer: Callable[[BatchRecord], Awaitable[RecordOutcome]],
    write_outcome: Callable[[RecordOutcome], Awaitable[None]],
    progress: JobProgress,
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[JobProgress], None] = lambda _: None,
) -> None:
    """Answer records, and write the outcomes in the order of the input.

    For any length of the input, the number of records and outcomes in memory has a bound that
    depends on `concurrency`.

    Args:
        records: The records; each is read when there is space for it. `None` stands for a record
            without work, so that the reader yields to other tasks.
        answer: Answers a record. An exception ends the work.
        write_outcome: Writes an outcome; likewise.
        progress: Counts the outcomes.
        concurrency: Number of parallel records.
        max_cost: As in `run_jobs`.
        show: Called after every record.
    """
    read_ahead = asyncio.Semaphore(concurrency * READ_AHEAD_FACTOR)
    budget = Budget(progress, max_cost)
    reader, writer = _RecordReader(records), _OrderedWriter(write_outcome, read_ahead)

    async def worker() -> None:
        while await read_ahead.acquire() and await budget.start_job():
            if (numbered_record := await reader.read_next()) is None:
                return await budget.finish_job()
            number, record = numbered_record
            outcome = await answer(record)
            outcome.count_in(progress)
            await budget.finish_job(outcome)
            show(progress)
            await writer.put(number, outcome)
        return None

    await run_workers(worker, min(concurrency, max(1, progress.total)))


class _RecordReader:
    """Numbers the records, and returns one at a time."""

    def __init__(self, records: Iterator[BatchRecord | None]) -> None:
        self._records, self._numbers, self._lock = records, count(), asyncio.Lock()

    async def read_next(self) -> tuple[int, BatchRecord] | None:
        async with self._lock:
            for record in self._records:
                if record:
                    return next(self._numbers), record
                await asyncio.sleep(0)
        return None


class _OrderedWriter:
    """Holds outcomes until all earlier ones are written."""

    def __init__(
        self,
        write_outcome: Callable[[RecordOutcome], Awaitable[None]],
        read_ahead: asyncio.Semaphore,
    ) -> None:
        self._write_outcome, self._read_ahead = write_outcome, read_ahead
        self._pending, self._next_number, self._lock = dict[int, RecordOutcome](), 0, asyncio.Lock()

    async def put(self, number: int, outcome: RecordOutcome) -> None:
        self._pending[number] = outcome
        async with self._lock:
            while self._next_number in self._pending:
                await self._write_outcome(self._pending.pop(self._next_number))
                self._next_number += 1
                self._read_ahead.release()
