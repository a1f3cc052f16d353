"""Whether a mixture is worth its cost: the cheapest system that is not worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from moa_graph.evals.benchmarks.formatting import format_cost, format_interval
from moa_graph.evals.intervals import difference_interval
from moa_graph.evals.report.measurement import SystemMeasurement
from moa_graph.evals.scoring import average_by_instruction

Amount = Literal["cost", "tokens"]

MARGIN = 0.05
"""By which share of the scale a system may be worse, at most, to count as not worse: 5 points of
100."""
_MANY = 1_000
"""Number of instructions for which costs are shown, to get readable numbers."""


class Difference(NamedTuple):
    """The mean difference between two systems on common instructions, with its interval."""

    value: float
    low: float
    high: float
    instructions: int

    def __str__(self) -> str:
        return f"{self.value:+z.1f} [{self.low:+z.1f}, {self.high:+z.1f}]"

    @property
    def reversed(self) -> "Difference":
        """The difference in the other direction."""
        return Difference(-self.value, -self.high, -self.low, self.instructions)


@dataclass(frozen=True)
class ComparedSystem:
    """A system compared with the mixture."""

    measurement: SystemMeasurement
    amount: float
    """Cost or tokens of an instruction."""
    difference: Difference
    """Quality of the system minus that of the mixture."""
    margin: float
    """Maximum loss of quality that counts as not worse."""

    @property
    def name(self) -> str:
        """Name of the system."""
        return self.measurement.system

    @property
    def is_not_worse(self) -> bool:
        """Whether the interval excludes a loss beyond the margin."""
        return self.difference.low >= -self.margin

    @property
    def is_worse(self) -> bool:
        """Whether the system is worse beyond the noise."""
        return self.difference.high < 0

    @property
    def is_better(self) -> bool:
        """Whether the system is better beyond the noise."""
        return self.difference.low > 0

    @property
    def verdict(self) -> str:
        """The comparison in a few words."""
        if self.is_better:
            return "better"
        if self.is_worse:
            return "worse"
        return "not worse" if self.is_not_worse else "not shown to be worse"


@dataclass(frozen=True)
class CostComparison:
    """The comparison of a mixture with other systems by quality and cost."""

    mixture: SystemMeasurement
    metric: str
    unit: str
    """Unit of the amounts: `instruction` or `turn`."""
    amount_kind: Amount
    amount: float
    """Cost or tokens of the mixture."""
    rivals: Sequence[ComparedSystem]
    """Other systems with known amounts, cheapest first."""
    members: Sequence[str]
    """Those of them that are a single model of the mixture."""

    @property
    def cheapest(self) -> ComparedSystem | None:
        """The cheapest system that is not worse; `None` if that is the mixture."""
        return next((rival for rival in self.cheaper if rival.is_not_worse), None)

    @property
    def cheapest_candidate(self) -> ComparedSystem | None:
        """The best cheaper system that is shown neither to be worse nor not to be worse."""
        candidates = [rival for rival in self.cheaper if not rival.is_worse]
        return max(candidates, key=lambda rival: rival.difference.value, default=None)

    @property
    def cheaper(self) -> list[ComparedSystem]:
        """Systems that are cheaper than the mixture."""
        return [rival for rival in self.rivals if rival.amount < self.amount]

    @property
    def strongest_member(self) -> ComparedSystem | None:
        """The best single model of the mixture; `None` if none was measured."""
        members = [rival for rival in self.rivals if rival.name in self.members]
        return max(members, key=lambda rival: rival.difference.value, default=None)

    @property
    def best_cheaper(self) -> ComparedSystem | None:
        """The best cheaper system."""
        return max(self.cheaper, key=lambda rival: rival.difference.value, default=None)

    @property
    def sentence(self) -> str:
        """Whether the mixture is better than its best model, at what cost, and what replaces it."""
        member = self.strongest_member
        parts = [self._compare_with_member(member)] if member else []
        cheapest = self._name_cheapest()
        parts.append(cheapest if parts else cheapest[0].upper() + cheapest[1:])
        return f"{'; '.join(parts)}."

    @property
    def per_unit(self) -> str:
        """The unit in words."""
        return f"{'an' if self.unit == 'instruction' else 'a'} {self.unit}"

    def format_amount(self, amount: float) -> str:
        """Format an amount of a system."""
        if self.amount_kind == "tokens":
            return f"{amount:,.0f} tokens"
        return format_cost(amount)

    def format_times(self, amount: float) -> str:
        """Format an amount as a multiple of that of the mixture."""
        return f"{amount / self.amount:.2g}" if self.amount else "-"

    def _compare_with_member(self, member: ComparedSystem) -> str:
        name, gain = self.mixture.system, member.difference.reversed
        verdict = (
            "is better than" if gain.low > 0 else "is worse than" if gain.high < 0 else None
        ) or "is not shown to be better than"
        times = f"{self.amount / member.amount:.2g} times its" if member.amount else "a"
        what = "cost" if self.amount_kind == "cost" else "tokens"
        return (
            f"{name} {verdict} {member.name}, the strongest of its models alone ({gain} in "
            f"{self.metric}), at {times} {what}"
        )

    def _name_cheapest(self) -> str:
        name = self.mixture.system
        own = f"{_format_quality(self.mixture)} at {self._format_many(self.amount)}"
        if rival := self.cheapest:
            return (
                f"the cheapest system that is not worse than {name} by more than "
                f"{rival.margin:g} is {rival.name}: {self._describe_rival(rival)}, against {own}"
            )
        best = self.best_cheaper
        if best is None:
            return f"no system is cheaper than {name} ({own})"
        if candidate := self.cheapest_candidate:
            return (
                f"no cheaper system is shown to be as good as {name} ({own}), and of those that "
                f"are not shown to be worse the best is {candidate.name}: "
                f"{self._describe_rival(candidate)}"
            )
        return (
            f"no cheaper system is as good as {name} ({own}); the best of them is {best.name}: "
            f"{self._describe_rival(best)}"
        )

    def _describe_rival(self, rival: ComparedSystem) -> str:
        difference = rival.difference
        return (
            f"{_format_quality(rival.measurement)} at {self._format_many(rival.amount)}, a "
            f"difference of {difference} on {difference.instructions} {self.unit}s"
        )

    def _format_many(self, amount: float) -> str:
        if self.amount_kind == "tokens":
            return f"{amount:,.0f} tokens {self.per_unit}"
        dollars = amount * _MANY
        shown = f"{dollars:,.2f}" if dollars >= 1 else f"{dollars:.2g}"
        return f"${shown} for {_MANY:,} {self.unit}s"


def compare_costs(
    mixture: SystemMeasurement,
    others: Sequence[SystemMeasurement],
    members: Sequence[str],
    *,
    metric: str,
    unit: str,
    is_headline: bool,
) -> CostComparison | None:
    """Compare a mixture with other systems by quality and cost.

    The amounts are costs if they are known for all systems and one is not free, otherwise tokens.

    Args:
        mixture: The mixture.
        others: The other systems.
        members: Names of those that are a single model of the mixture.
        metric: Name of the quality metric.
        unit: Unit of the amounts.
        is_headline: As in `average_by_instruction`.

    Returns:
        The comparison; `None` if neither amount is known of the mixture and another system.
    """
    kind = _choose_amount([mixture, *others])
    own = _amount_of(mixture, kind)
    if own is None:
        return None
    bounds = mixture.score.protocol.score_bounds
    margin = MARGIN * (bounds[1] - bounds[0]) if bounds else 0.0
    rivals = [
        ComparedSystem(other, amount, difference, margin)
        for other in others
        if (amount := _amount_of(other, kind)) is not None
        if (difference := _measure_difference(other, mixture, is_headline=is_headline))
    ]
    if not rivals:
        return None
    rivals.sort(key=lambda rival: (rival.amount, -rival.difference.value))
    return CostComparison(mixture, metric, unit, kind, own, rivals, members)


def _choose_amount(measurements: Sequence[SystemMeasurement]) -> Amount:
    costs = [_amount_of(each, "cost") for each in measurements]
    return "cost" if None not in costs and any(costs) else "tokens"


def _amount_of(measurement: SystemMeasurement, kind: Amount) -> float | None:
    use = measurement.resource_use
    if kind == "cost":
        return use.cost.value
    tokens = (use.input_tokens.value, use.output_tokens.value)
    return None if None in tokens else sum(each for each in tokens if each is not None)


def _measure_difference(
    first: SystemMeasurement, second: SystemMeasurement, *, is_headline: bool
) -> Difference | None:
    scores = [
        average_by_instruction(each.runs, is_headline=is_headline) for each in (first, second)
    ]
    shared = sorted(scores[0].keys() & scores[1].keys(), key=str)
    differences = [scores[0][each] - scores[1][each] for each in shared]
    scale = None if is_headline else first.score.protocol.score_bounds
    if (interval := difference_interval(differences, scale)) is None:
        return None
    return Difference(sum(differences) / len(differences), *interval, len(differences))


def _format_quality(measurement: SystemMeasurement) -> str:
    quality = measurement.mean_quality
    return format_interval(quality.value, quality.low, quality.high, 1)
