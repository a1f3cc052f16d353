"""Work through many items: so many at a time, counted, within a budget, each failure kept."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from moa_graph.errors import MoAError
from moa_graph.models.pricing import Prices, estimate_cost, is_free_model
from moa_graph.redaction import redacted_message
from moa_graph.runs.formatting import format_dollars
from moa_graph.runs.model_calls import CallRecord, call_listener

Item = TypeVar("Item")
Result = TypeVar("Result")


class PartialError(MoAError):
    """An item failed; what there is of its result is kept with the failure."""

    def __init__(self, cause: str, result: Any) -> None:
        super().__init__(cause)
        self.result = result


@dataclass
class Outcome(Generic[Result]):
    """What came of one item."""

    result: Result | None = None
    """On failure, what there is of it (see `PartialError`)."""
    error: str | None = None
    """Why it failed; `None` on success."""
    calls: list[CallRecord] = field(default_factory=list)
    """The calls that it took, in the order in which they ended."""


@dataclass
class Tally:
    """What was done so far."""

    total: int
    done: int = 0
    """Items that have a result."""
    failed: int = 0
    calls: int = 0
    """Calls that were made now; stored answers are not among them."""
    tokens: int = 0
    """Tokens of these calls, as far as they are known."""
    spent: float = 0.0
    """US dollars that these calls cost, as far as it is known."""
    unpriced: int = 0
    """Calls that gave an answer whose cost is not known: it is not in `spent`."""
    stopped: str | None = None
    """Why items were left alone; `None` if none was."""

    @property
    def left(self) -> int:
        """Items that were neither done nor tried."""
        return self.total - self.done - self.failed

    def count(self, record: CallRecord, prices: Prices | None) -> None:
        """Take in a call."""
        if record.from_store:
            return
        self.calls += 1
        self.tokens += record.usage["total_tokens"] if record.usage else 0
        cost = estimate_cost(record.label, record.usage, prices)
        self.spent += cost or 0.0
        # A call that failed without a word of tokens was refused: providers do not bill it.
        self.unpriced += cost is None and (record.error is None or record.usage is not None)

    def add(self, other: "Tally") -> None:
        """Take in the calls of other work."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.spent += other.spent
        self.unpriced += other.unpriced

    def money(self) -> str:
        """Say what was spent; an unknown cost is never 0."""
        if self.unpriced and not self.spent:
            return "cost unknown"
        return f"{'at least ' if self.unpriced else ''}{format_dollars(self.spent)}"

    def account(self) -> str:
        """Say what was done, in one line."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        left = f", {self.left:,} not tried" if self.left else ""
        return (
            f"{self.done:,} of {self.total:,} done{failed}{left}; "
            f"{self.calls:,} calls, {self.tokens:,} tokens, {self.money()}"
        )


async def work_through(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Result]],
    keep: Callable[[Item, Outcome[Result]], None],
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    prices: Prices | None = None,
    show: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Work through items, and keep what came of each as soon as it is there.

    Cancelled (Ctrl-C under `asyncio.run`), it cancels what is under way; what was kept is kept.

    Args:
        items: The items.
        work: What is done with one. An exception is a failure of that item alone.
        keep: Stores what came of it. An exception ends the work.
        concurrency: How many items are under way at a time.
        max_cost: US dollars. When they are spent, or when a call's cost turns out to be unknown,
            no further item is begun; those under way are finished.
        prices: As in `estimate_cost`.
        show: Is told of every call and every item.

    Returns:
        What was done.

    Raises:
        ValueError: If an option makes no sense.
    """
    _check_limits(concurrency, max_cost)
    tally, waiting = Tally(len(items)), iter(items)

    def count_call(record: CallRecord) -> None:
        tally.count(record, prices)
        show(tally)

    async def work_on_items() -> None:
        for item in _within(waiting, tally, max_cost):
            outcome = await _attempt(item, work, count_call)
            keep(item, outcome)
            tally.done += outcome.error is None
            tally.failed += outcome.error is not None
            show(tally)

    await run_workers(work_on_items, min(concurrency, len(items)))
    return tally


async def run_workers(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Run several workers at the same time, until each of them is done.

    Raises:
        Exception: What the first worker raised that failed; the others are cancelled then.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


def limit(max_cost: float | None, labels: Iterable[str]) -> float | None:
    """Give the limit of what is spent on models: none where all cost nothing, so that 0 will do."""
    return None if all(map(is_free_model, labels)) else max_cost


def _check_limits(concurrency: int, max_cost: float | None) -> None:
    if concurrency < 1:
        raise ValueError(f"`concurrency`={concurrency}: expected a number from 1 on")
    if max_cost is not None and max_cost < 0:
        raise ValueError(f"`max_cost`={max_cost}: expected US dollars, 0 or more")


async def _attempt(
    item: Item, work: Callable[[Item], Awaitable[Result]], count_call: Callable[[CallRecord], None]
) -> Outcome[Result]:
    """Work on an item; whatever is raised is its failure."""
    outcome = Outcome[Result]()
    try:
        with call_listener(count_call), call_listener(outcome.calls.append):
            outcome.result = await work(item)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this item's
        outcome.error, outcome.result = redacted_message(error), getattr(error, "result", None)
    return outcome


def _within(waiting: Iterable[Item], tally: Tally, max_cost: float | None) -> Iterable[Item]:
    """Give items until the money is spent."""
    for item in waiting:
        if max_cost is not None and tally.spent >= max_cost:
            tally.stopped = f"${max_cost:g} were to be spent at most, and {tally.money()} are"
        elif max_cost is not None and tally.unpriced:
            tally.stopped = "a call did not say its tokens, so that its cost is not known"
        if tally.stopped:
            return
        yield item
