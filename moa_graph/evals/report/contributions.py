"""The contribution of each proposer to a mixture, and the one to remove first."""

from collections.abc import Sequence
from dataclasses import dataclass

from moa_graph.evals.report.cost_comparison import CostComparison, Difference, compare_costs
from moa_graph.evals.report.measurement import SystemMeasurement


@dataclass(frozen=True)
class Contribution:
    """The contribution of a proposer."""

    proposer: str
    gain: Difference
    """Quality of the mixture minus that of the mixture without the proposer."""
    saved: float | None
    """Share of the mixture's cost that would be saved without the proposer; `None` if the mixture
    costs nothing."""

    @property
    def verdict(self) -> str:
        """The conclusion from the interval."""
        if self.gain.low > 0:
            return "adds"
        return "harms" if self.gain.high < 0 else "not shown to add"

    @property
    def saving(self) -> str:
        """The saving in percent."""
        return "-" if self.saved is None else f"{100 * self.saved:.0f} %"


@dataclass(frozen=True)
class Contributions:
    """The contributions of the proposers of a mixture."""

    mixture: str
    metric: str
    each: Sequence[Contribution]

    @property
    def advice(self) -> str:
        """The proposer to remove first, if any: the one whose removal has the lowest risk."""
        droppable = [one for one in self.each if one.gain.low <= 0]
        if not droppable:
            return f"Keep all proposers of {self.mixture}: without any of them it is worse."
        one = min(droppable, key=lambda each: (each.gain.high, -(each.saved or 0)))
        risk = max(0.0, one.gain.high)
        saving = "" if one.saved is None else f", and saves {one.saving} of what it takes"
        loss = (
            f"with 95 % confidence that costs no more than {risk:.1f} in {self.metric}"
            if risk
            else f"it is better without it, by {-one.gain.value:.1f} in {self.metric}"
        )
        return (
            f"Of {self.mixture}, {one.proposer} could go first: it adds {one.gain} "
            f"({one.gain.instructions} instructions); {loss}{saving}."
        )


def measure_contributions(
    mixture: SystemMeasurement,
    without: Sequence[tuple[str, SystemMeasurement]],
    *,
    metric: str,
    unit: str,
    is_headline: bool,
) -> Contributions | None:
    """Compare a mixture with itself without each of its proposers.

    Args:
        mixture: The mixture.
        without: The mixture without each proposer, by proposer.
        metric: Name of the quality metric.
        unit: Unit of cost: `instruction` or `turn`.
        is_headline: As in `compare_costs`.

    Returns:
        The contributions; `None` if no comparison is possible.
    """
    others = [measurement for _, measurement in without]
    costs = compare_costs(mixture, others, (), metric=metric, unit=unit, is_headline=is_headline)
    if costs is None:
        return None
    names = {measurement.system: proposer for proposer, measurement in without}
    return Contributions(
        mixture.system,
        metric,
        [
            Contribution(
                names[rival.name], rival.difference.reversed, _saved_share(costs, rival.amount)
            )
            for rival in costs.rivals
        ],
    )


def _saved_share(costs: CostComparison, amount: float) -> float | None:
    return 1 - amount / costs.amount if costs.amount else None
