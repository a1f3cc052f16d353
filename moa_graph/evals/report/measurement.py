"""The measurements of a system on a benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from moa_graph.evals.resource_use import ResourceUse
from moa_graph.evals.scoring import QualityInterval, SystemScore


@dataclass(frozen=True)
class SystemMeasurement:
    """The results of a system on a benchmark."""

    system: str
    score: SystemScore
    quality: QualityInterval
    resource_use: ResourceUse
    """Resource use of all runs."""
    generation: Mapping[str, Any]
    """Manifest of the answers."""
    runs: Sequence[SystemScore]
    """Scores of all runs with a score, in order."""
    mean_quality: QualityInterval
    """Mean quality of all runs, with the interval over instructions."""
    run_costs: "RepeatedRuns"
    """Cost of an instruction in each run, in US dollars; empty if one is unknown."""


@dataclass(frozen=True)
class RepeatedRuns:
    """A figure over the runs of a repeated system."""

    values: Sequence[float]

    @property
    def deviation(self) -> float | None:
        """The standard deviation; `None` for a single run."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        if len(self.values) < 2:
            return "-"
        mean, deviation = fmean(self.values), self.deviation
        places = 1 if mean > 10 else 2
        return f"{mean:.{places}f} ± {deviation:.{places}f} ({len(self.values)} runs)"
