"""Work through the records in this process: so many at a time, in order, within a budget."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

from moa_graph.batch.budget import Budget
from moa_graph.batch.input import Record
from moa_graph.batch.record_runner import Outcome
from moa_graph.runs.jobs import Tally

AHEAD = 8
"""How many times as many records as run at a time may be ahead of the first unfinished one."""


async def run_batch(
    records: Iterator[Record | None],
    answer: Callable[[Record], Awaitable[Outcome]],
    keep: Callable[[Outcome], Awaitable[None]],
    tally: Tally,
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[Tally], None] = lambda _: None,
) -> None:
    """Answer records, and keep what came of them in the order of the input.

    However long the input, no more of it is read, and no more outcomes held, than a bound that
    follows from `concurrency`.

    Args:
        records: The records; each is read when there is room for it. Where there is nothing to
            be done, `None`, so that reading over many of them holds up nobody.
        answer: Answers one. An exception ends the work.
        keep: Stores what came of one; likewise.
        tally: Takes in what is done.
        concurrency: How many records are under way at a time.
        max_cost: US dollars. No record is begun that would pass it, with those under way, if each
            cost as much as the dearest so far.
        show: Is told of every record.
    """
    room, budget = asyncio.Semaphore(concurrency * AHEAD), Budget(tally, max_cost)
    reader, kept = _Reader(records), _InOrder(keep, room)

    async def worker() -> None:
        while await room.acquire() and await budget.begin():
            if (begun := await reader.read()) is None:
                return await budget.end(None)
            number, record = begun
            outcome = await answer(record)
            await budget.end(outcome)
            show(tally)
            await kept.put(number, outcome)
        return None

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, max(1, tally.total))):
                group.create_task(worker())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


class _Reader:
    """Numbers the records, and gives one at a time."""

    def __init__(self, records: Iterator[Record | None]) -> None:
        self._records, self._numbers, self._turn = records, count(), asyncio.Lock()

    async def read(self) -> tuple[int, Record] | None:
        async with self._turn:
            for record in self._records:
                if record:
                    return next(self._numbers), record
                await asyncio.sleep(0)
        return None


class _InOrder:
    """Keeps outcomes by their numbers, and makes room for others."""

    def __init__(self, keep: Callable[[Outcome], Awaitable[None]], room: asyncio.Semaphore) -> None:
        self._keep, self._room = keep, room
        self._held, self._next, self._turn = dict[int, Outcome](), 0, asyncio.Lock()

    async def put(self, number: int, outcome: Outcome) -> None:
        self._held[number] = outcome
        async with self._turn:
            while self._next in self._held:
                await self._keep(self._held.pop(self._next))
                self._next += 1
                self._room.release()
