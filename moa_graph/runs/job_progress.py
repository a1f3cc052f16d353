"""What many jobs came to so far: how many are done, and what their calls took."""

from collections.abc import Iterable
from dataclasses import dataclass, field
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
    highest_call: float = 0.0
    """US dollars that the most expensive of these calls cost, as far as it is known."""
    unpriced: int = 0
    """Calls whose cost is not known, and that may be billed: it is not in `spent`."""
    unpriced_failures: int = 0
    """Those of them that failed: they were cut off, or broke off."""
    models_without_usage: list[str] = field(default_factory=list)
    """Models that gave an answer, but did not say its tokens."""

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
        cost = estimate_cost(record.label, record.usage, prices)
        tokens = record.usage["total_tokens"] if record.usage else 0
        failed = record.error is not None
        self.add_call(record.label, tokens, cost, is_billed=record.is_billed, failed=failed)

    def add_call(
        self,
        label: str,
        tokens: int,
        cost: float | None,
        *,
        is_billed: bool,
        failed: bool,
        is_whole_cost: bool = True,
    ) -> None:
        """Add a call.

        Args:
            label: What was asked: `provider:model`.
            tokens: Its tokens, as far as they are known.
            cost: US dollars; `None` if that is not known.
            is_billed: Whether it cost something, or may have.
            failed: Whether it gave no answer.
            is_whole_cost: Whether `cost` is all that it may have cost: not so if a request beside
                it was cut off.
        """
        self.calls += 1
        self.tokens += tokens
        self.spent += cost or 0.0
        self.highest_call = max(self.highest_call, cost or 0.0)
        if is_billed and (cost is None or not is_whole_cost):
            self.unpriced += 1
            self.unpriced_failures += failed or cost is not None
            if not failed and cost is None and label not in self.models_without_usage:
                self.models_without_usage.append(label)

    def add_totals(self, other: "CallTotals") -> None:
        """Add the calls of other work."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.spent += other.spent
        self.highest_call = max(self.highest_call, other.highest_call)
        self.unpriced += other.unpriced
        self.unpriced_failures += other.unpriced_failures
        new = set(other.models_without_usage) - set(self.models_without_usage)
        self.models_without_usage += sorted(new)

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
