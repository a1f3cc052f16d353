"""What many jobs came to so far: how many are done, and what their calls took."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.runs.formatting import format_dollars
from moa_graph.runs.model_calls import CallRecord


@dataclass(kw_only=True)
class CallTotals:
    """What calls of models took, summed up."""

    calls: int = 0
    """Calls that were made now; stored answers are not among them."""
    tokens: int = 0
    """Tokens of these calls, as far as they are known."""
    spent: float = 0.0
    """US dollars that these calls cost, as far as it is known."""
    unpriced: int = 0
    """Calls that gave an answer whose cost is not known: it is not in `spent`."""

    @classmethod
    def from_calls(cls, calls: Iterable[CallRecord], prices: Prices | None) -> Self:
        """Sum up calls."""
        totals = cls()
        for call in calls:
            totals.count_call(call, prices)
        return totals

    def count_call(self, record: CallRecord, prices: Prices | None) -> None:
        """Add a call."""
        if record.from_store:
            return
        self.calls += 1
        self.tokens += record.usage["total_tokens"] if record.usage else 0
        cost = estimate_cost(record.label, record.usage, prices)
        self.spent += cost or 0.0
        # Providers do not bill a call that failed and reported no tokens: they refused it.
        self.unpriced += cost is None and (record.error is None or record.usage is not None)

    def add_totals(self, other: "CallTotals") -> None:
        """Add the calls of other work."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.spent += other.spent
        self.unpriced += other.unpriced

    def format_spent(self) -> str:
        """Write what was spent; an unknown cost is never 0."""
        if self.unpriced and not self.spent:
            return "cost unknown"
        return f"{'at least ' if self.unpriced else ''}{format_dollars(self.spent)}"

    def describe_calls(self) -> str:
        """Write what the calls took, in one line."""
        return f"{self.calls:,} calls, {self.tokens:,} tokens, {self.format_spent()}"


@dataclass
class JobProgress(CallTotals):
    """What was done so far."""

    total: int
    done: int = 0
    """Items that have a result."""
    failed: int = 0
    stopped: str | None = None
    """Why items were not tried; `None` if all were, or still may be."""

    @property
    def tried(self) -> int:
        """Items that are done or failed."""
        return self.done + self.failed

    @property
    def left(self) -> int:
        """Items that were neither done nor tried."""
        return self.total - self.tried

    def count_job(self, *, failed: bool) -> None:
        """Add an item that was tried."""
        self.done += not failed
        self.failed += failed
