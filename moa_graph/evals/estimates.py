"""Estimated resource use of a comparison: calls, tokens, cost and time, by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isinf
from typing import Any, NamedTuple

from moa_graph.models.pricing import (
    Prices,
    estimate_cost,
    is_free_model,
)


class TokenEstimate(NamedTuple):
    """An estimated number of tokens."""

    expected: float
    upper_bound: float
    """Maximum; infinite if there is none."""

    def __add__(self, other: Any) -> "TokenEstimate":  # no concatenation
        return TokenEstimate(self.expected + other.expected, self.upper_bound + other.upper_bound)

    def times(self, number: float) -> "TokenEstimate":
        """Return a multiple of the tokens."""
        return TokenEstimate(self.expected * number, self.upper_bound * number if number else 0.0)


NO_TOKENS = TokenEstimate(0, 0)


@dataclass(frozen=True)
class PlannedCall:
    """A call of a mixture for an item."""

    key: str
    """Key as of `request_key`: equal calls of several systems are one call."""
    label: str
    depth: int
    input_tokens: TokenEstimate
    output_tokens: TokenEstimate


@dataclass
class PartEstimate:
    """Estimated resource use of a part of a comparison."""

    benchmark: str
    part: str
    """Name of a system, or `judge ...`."""
    items: int
    """Number of missing calls."""
    calls: int = 0
    free: int = 0
    """Number of free calls, which each system makes itself; not included in the other calls."""
    tokens: TokenEstimate = NO_TOKENS
    cost: float | None = 0.0
    """Expected cost in US dollars; `None` if a price is unknown."""
    most_cost: float | None = 0.0
    """Maximum cost; `None` if a price is unknown; infinite if there is no maximum."""
    seconds: float = 0.0
    unpriced: set[str] = field(default_factory=set)
    unbounded: set[str] = field(default_factory=set)

    def add_call(self, call: PlannedCall, times: int, prices: Prices) -> None:
        """Add a call that is made some number of times."""
        if is_free_model(call.label):
            self.free += times
            return
        self.calls += times
        self.tokens += (call.input_tokens + call.output_tokens).times(times)
        if isinf(call.output_tokens.upper_bound):
            self.unbounded.add(call.label)
        likely = cost_of_tokens(
            call.label, call.input_tokens.expected, call.output_tokens.expected, prices
        )
        if likely is None:
            self.unpriced.add(call.label)
        most = cost_of_tokens(
            call.label, call.input_tokens.upper_bound, call.output_tokens.upper_bound, prices
        )
        self.cost = _add_cost(self.cost, likely, times)
        self.most_cost = _add_cost(self.most_cost, most, times)

    def add_part(self, other: "PartEstimate") -> None:
        """Add another part."""
        self.items += other.items
        self.calls += other.calls
        self.free += other.free
        self.tokens += other.tokens
        self.cost = _add_cost(self.cost, other.cost)
        self.most_cost = _add_cost(self.most_cost, other.most_cost)
        self.seconds += other.seconds
        self.unpriced |= other.unpriced
        self.unbounded |= other.unbounded


@dataclass(frozen=True)
class ComparisonEstimate:
    """Estimated resource use of a comparison."""

    estimates: Sequence[PartEstimate]
    prices: Mapping[str, tuple[float, float]]
    """US dollars for a million tokens read and written, by paid model."""
    notes: Sequence[str]

    @property
    def total(self) -> PartEstimate:
        """The sum of all parts."""
        total = PartEstimate("", "in all", 0)
        for each in self.estimates:
            total.add_part(each)
        return total


def cost_of_tokens(
    label: str, input_tokens: float, output_tokens: float, prices: Prices
) -> float | None:
    """Return the cost of a call; infinite tokens have an infinite cost if there is a price."""
    if isinf(input_tokens + output_tokens):
        return None if cost_of_tokens(label, 1, 1, prices) is None else inf
    tokens = {"input_tokens": round(input_tokens), "output_tokens": round(output_tokens)}
    return estimate_cost(label, tokens | {"total_tokens": sum(tokens.values())}, prices)


def _add_cost(so_far: float | None, more: float | None, times: int = 1) -> float | None:
    if not times:
        return so_far
    return None if so_far is None or more is None else so_far + times * more
