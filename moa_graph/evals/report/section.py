"""All measurements of one benchmark in a comparison."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.correlation import Correlation
from moa_graph.evals.diversity import Diversity
from moa_graph.evals.panel import JudgePanel
from moa_graph.evals.report.contributions import Contributions
from moa_graph.evals.report.cost_comparison import CostComparison
from moa_graph.evals.report.measurement import RepeatedRuns, SystemMeasurement
from moa_graph.evals.scoring import MissingScore, SystemScore


@dataclass(frozen=True)
class MissingMeasurement:
    """A system without a score on a benchmark."""

    score: MissingScore
    generation: Mapping[str, Any]
    """Manifest of the answers."""


@dataclass(frozen=True)
class MeasuredPoint:
    """A point of an analysis."""

    curve: str
    x: float | str
    measurement: SystemMeasurement
    verdict: str | None
    """Comparison with its reference system."""


@dataclass(frozen=True)
class AnalysisResult:
    """An analysis of a mixture on a benchmark."""

    of: str
    name: str
    points: Sequence[MeasuredPoint]
    base: SystemMeasurement | None = None
    """The mixture itself, if it is a system of the comparison."""

    @property
    def curves(self) -> dict[str, list[MeasuredPoint]]:
        """The points of each curve."""
        by_curve: dict[str, list[MeasuredPoint]] = {}
        for dot in self.points:
            by_curve.setdefault(dot.curve, []).append(dot)
        return by_curve


@dataclass(frozen=True)
class ReportSection:
    """All measurements on a benchmark."""

    benchmark: str
    metric: str
    """Name of the metric of `quality`."""
    controlled: bool
    """Whether `quality` is the benchmark's headline, such as the length-controlled win rate."""
    measurements: Sequence[SystemMeasurement]
    missing: Sequence[MissingMeasurement]
    """Systems without a successful judgement."""
    named: Sequence[SystemMeasurement]
    """Systems that are not only points of analyses."""
    verdicts: Sequence[str]
    """Comparisons of each pair of them, those with the first system first."""
    analyses: Sequence[AnalysisResult]
    repeated: Mapping[str, RepeatedRuns]
    """Repeated runs, by system."""
    correlations: Mapping[str, Mapping[str, Correlation]]
    """Correlations of the requested systems, by similarity measure."""
    panel: JudgePanel | None
    """The judges of the named systems; `None` without a score."""
    prices: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Analyses of the plan."""
    cost_comparisons: Sequence[CostComparison] = ()
    """Cost comparisons of mixtures."""
    contributions: Mapping[str, Contributions] = field(default_factory=dict)
    """Contributions of the proposers of mixtures."""
    diversities: Mapping[str, Diversity] = field(default_factory=dict)
    """Joint errors of the proposals that the aggregator reads, for mixtures with exact scores."""

    @property
    def protocol(self) -> Benchmark:
        """The benchmark."""
        return self._all_scores[0].protocol

    @property
    def unit(self) -> str:
        """Unit of resource use: `instruction`, or `turn` of a conversation."""
        is_per_turn = any(each.resource_use.is_per_turn for each in self.measurements)
        return "turn" if is_per_turn else "instruction"

    @property
    def labels(self) -> dict[str, list[str]]:
        """Labels that must accompany figures, with their systems."""
        by_label: dict[str, list[str]] = {}
        for scored in self._all_scores:
            for label in (*scored.labels, *_unavailable_labels(scored)):
                by_label.setdefault(label, []).append(scored.system)
        return by_label

    @property
    def size(self) -> int:
        """Number of systems, including those without a score."""
        return len(self._all_scores)

    @property
    def _all_scores(self) -> list[SystemScore | MissingScore]:
        return [*(each.score for each in self.measurements), *(each.score for each in self.missing)]

    @property
    def footnote(self) -> str:
        """The labels as one text, for a figure that may be shown alone."""
        parts = [
            label if len(systems) == self.size else f"{label} ({list_names(systems)})"
            for label, systems in self.labels.items()
        ]
        return "; ".join(parts)


def list_names(systems: Sequence[str], max_names: int = 3) -> str:
    """Return the names of systems; of many, only some."""
    more = f" and {len(systems) - max_names} more" if len(systems) > max_names else ""
    return ", ".join(systems[:max_names]) + more


def _unavailable_labels(scored: SystemScore | MissingScore) -> Iterator[str]:
    if isinstance(scored, SystemScore):
        missing = scored.protocol.missing_figures(scored.figures)
        yield from (f"{figure}: unavailable, {reason}" for figure, reason in missing.items())
