"""Progress of many jobs: number of completed items, tokens and cost."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.runs.formatting import format_dollars
from moa_graph.runs.model_calls import CallRecord


@dataclass(kw_only=True)
class CallTotals:
    """Totals of model calls."""

    calls: int = 0
    """Number of calls, without stored answers."""
    tokens: int = 0
    """Known tokens of these calls."""
    spent: float = 0.0
    """Known cost of these calls in US dollars."""
    highest_call: float = 0.0
    """Highest known cost of a call in US dollars."""
    unpriced: int = 0
    """Number of calls of unknown cost that may be billed; `spent` does not include them."""
    unpriced_failures: int = 0
    """Number of failed calls among them."""
    models_without_usage: list[str] = field(default_factory=list)
    """Models that answered without reporting tokens."""

    @classmethod
    def from_calls(cls, calls: Iterable[CallRecord], prices: Prices | None) -> Self:
        """Return the totals of calls."""
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
            label: The model: `provider:model`.
            tokens: Its tokens, as far as they are known.
            cost: US dollars; `None` if unknown.
            is_billed: Whether it is billed, or may be.
            failed: Whether it gave no answer.
            is_whole_cost: Whether `cost` is complete; false if a hedged request beside it was
                cancelled.
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
        """Add other totals."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.spent += other.spent
        self.highest_call = max(self.highest_call, other.highest_call)
        self.unpriced += other.unpriced
        self.unpriced_failures += other.unpriced_failures
        new = set(other.models_without_usage) - set(self.models_without_usage)
        self.models_without_usage += sorted(new)

    def format_spent(self) -> str:
        """Format the spending; an unknown cost is never shown as 0."""
        if self.unpriced and not self.spent:
            return "cost unknown"
        return f"{'at least ' if self.unpriced else ''}{format_dollars(self.spent)}"

    def describe_calls(self) -> str:
        """Format the totals in one line."""
        return f"{self.calls:,} calls, {self.tokens:,} tokens, {self.format_spent()}"


@dataclass
class JobProgress(CallTotals):
    """Progress of jobs."""

    total: int
    done: int = 0
    """Number of items with a result."""
    failed: int = 0
    stopped: str | None = None
    """Why the remaining items do not start; `None` if they may still start."""

    @property
    def tried(self) -> int:
        """Number of completed and failed items."""
        return self.done + self.failed

    @property
    def left(self) -> int:
        """Number of items that have not started."""
        return self.total - self.tried

    def count_job(self, *, failed: bool) -> None:
        """Count an item."""
        self.done += not failed
        self.failed += failed
