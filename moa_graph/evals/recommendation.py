"""Choose the best measured system for a price, with its evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moa_graph.config.toml_text import format_mixture
from moa_graph.evals.benchmarks.alpaca_eval.baselines import find_baselines
from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.report.comparison_info import find_judged_folders, read_comparison_info
from moa_graph.evals.report.cost_comparison import CostComparison, compare_costs
from moa_graph.evals.report.measurement import SystemMeasurement
from moa_graph.evals.report.results import read_sections
from moa_graph.evals.report.section import ReportSection
from moa_graph.evals.resource_use import pareto_front


@dataclass(frozen=True)
class Recommendation:
    """The best system within a price."""

    plan: EvalPlan
    section: ReportSection
    chosen: SystemMeasurement
    price: float
    """Maximum cost of an instruction in US dollars."""
    front: Sequence[SystemMeasurement]
    """The Pareto front, cheapest system first: no other system is both cheaper and better."""
    unpriced: Sequence[SystemMeasurement]
    """Systems of unknown cost, which cannot be recommended."""
    comparison: CostComparison | None
    """Comparison of the chosen system with all others; `None` if there are none."""

    def format_toml(self) -> str:
        """Return the mixture as TOML, with its evidence as comments."""
        config = self.plan.configs[self.chosen.system]
        lines = (" ".join(line.split()) for line in self._list_evidence())
        comments = "".join(f"# {line}\n" if line else "#\n" for line in lines)
        return f"{comments}\n{format_mixture(config)}"

    def _list_evidence(self) -> Iterator[str]:
        chosen, section, unit = self.chosen, self.section, self.section.unit
        yield f"{chosen.system}: the best system measured for ${self.price:g} per {unit} at most."
        yield (
            f"On {section.benchmark}: {section.metric}, with 95 % intervals, and US dollars per "
            f"{unit}."
        )
        yield ""
        for each in self.front:
            mark = "*" if each is chosen else " "
            yield f"{mark} {_describe(each)}"
        yield "The Pareto front: no other system is both cheaper and better. * marks this one."
        if self.unpriced:
            names = ", ".join(each.system for each in self.unpriced)
            yield f"Left out, because their cost is unknown: {names}."
        yield from self._list_alternatives()
        for label, systems in section.labels.items():
            if chosen.system in systems:
                yield f"Note: {label}."

    def _list_alternatives(self) -> Iterator[str]:
        rival = self.comparison and (self.comparison.cheapest or self.comparison.cheapest_candidate)
        if self.comparison and rival:
            yield ""
            yield (
                f"{rival.name} is {rival.verdict} ({rival.difference} on "
                f"{rival.difference.instructions} {self.section.unit}s), at "
                f"{self.comparison.format_amount(rival.amount)}."
            )
        yield "The best system of a comparison usually scores a little lower in the next one."


def recommend(
    plan: EvalPlan, out: Path, price: float, benchmark: str | None = None
) -> Recommendation:
    """Return the best system of a plan within a price, from stored results.

    Args:
        plan: The plan.
        out: The folder of its comparison.
        price: Maximum cost of an instruction in US dollars.
        benchmark: The benchmark, if there are several.

    Raises:
        ValueError: If there are no measurements, or no system is that cheap.
    """
    section = _choose_section(list(_read_sections(plan, out)), benchmark)
    measured = [each for each in section.measurements if each.system in plan.configs]
    costs = {each.system: each.resource_use.cost.value for each in measured}
    priced = {each.system: each for each in measured if costs[each.system] is not None}
    if not priced:
        raise ValueError(
            f"{section.benchmark}: the cost of no system is known; give [prices] in the plan"
        )
    points = {
        name: (each.resource_use.cost.value, each.mean_quality.value)
        for name, each in priced.items()
    }
    front = [priced[name] for name in pareto_front(points)]
    unpriced = [each for each in measured if each.system not in priced]
    affordable = [each for each in front if (costs[each.system] or 0) <= price]
    if not affordable:
        raise ValueError(
            f"`price`={price:g}: the cheapest system costs more: {_describe(front[0])}"
        )
    best = points[affordable[-1].system]
    chosen = next(each for each in affordable if points[each.system] == best)
    others = [each for each in priced.values() if each is not chosen]
    comparison = compare_costs(
        chosen,
        others,
        (),
        metric=section.metric,
        unit=section.unit,
        is_headline=section.controlled,
    )
    return Recommendation(plan, section, chosen, price, front, unpriced, comparison)


def _read_sections(plan: EvalPlan, out: Path) -> Iterator[ReportSection]:
    comparison = read_comparison_info(out)
    folders, _ = find_judged_folders(out, comparison)
    table = plan.gamed_baselines and plan.resolve_path(plan.gamed_baselines)
    yield from read_sections(folders, comparison, find_baselines(folders, table))


def _choose_section(sections: Sequence[ReportSection], name: str | None) -> ReportSection:
    measured = {each.benchmark: each for each in sections if each.measurements}
    if name is None and len(measured) == 1:
        return next(iter(measured.values()))
    if name is None or name not in measured:
        known = ", ".join(measured) or "none is measured"
        given = "" if name is None else f", got {name!r}"
        raise ValueError(f"`benchmark`: expected one of: {known}{given}")
    return measured[name]


def _describe(each: SystemMeasurement) -> str:
    quality, cost = each.mean_quality, each.resource_use.cost.value or 0.0
    amount = f"${cost:.3g}" if cost >= 1e-4 or not cost else f"${cost:.1e}"  # noqa: PLR2004
    return f"{each.system}: {quality.value:.1f} [{quality.low:.1f}, {quality.high:.1f}] at {amount}"
