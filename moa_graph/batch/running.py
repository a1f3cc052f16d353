"""Work through the records in this process: so many at a time, in order, within a budget."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from moa_graph.batch.answering import Outcome
from moa_graph.batch.budget import Budget
from moa_graph.batch.records import Record
from moa_graph.evals.running import Tally

AHEAD = 8
"""How many times as many records as run at a time may be ahead of the first unfinished one."""


async def run_batch(
    records: Iterator[Record],
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
        records: The records; each is read when there is room for it.
        answer: Answers one. An exception ends the work.
        keep: Stores what came of one; likewise.
        tally: Takes in what is done.
        concurrency: How many records are under way at a time.
        max_cost: US dollars. No record is begun that would pass it, with those under way, if each
            cost as much as the dearest so far.
        show: Is told of every record.
    """
    room, budget = asyncio.Semaphore(concurrency * AHEAD), Budget(tally, max_cost)
    held, numbered, kept, keeping = dict[int, Outcome](), enumerate(records), 0, asyncio.Lock()

    async def worker() -> None:
        while await room.acquire() and await budget.begin():
            if (place := next(numbered, None)) is None:
                return await budget.end(None)
            held[place[0]] = outcome = await answer(place[1])
            await budget.end(outcome)
            show(tally)
            await keep_in_order()
        return None

    async def keep_in_order() -> None:
        nonlocal kept
        async with keeping:
            while kept in held:
                await keep(held.pop(kept))
                kept += 1
                room.release()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, tally.total)):
                group.create_task(worker())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
