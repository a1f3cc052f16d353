"""Replay stored proposals to compute the savings and the quality of early stops.

A mixture with several layers stops at the first one whose proposals agree enough. The answer of its
aggregator at that point is taken from a system of the comparison with only the first layers (the
analysis `early_stop`). Without such a system, and with an exact scorer, the most frequent proposal
replaces it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from moa_graph.evals.intervals import mean_interval
from moa_graph.evals.judging.proposal_scores import ScoresByItem, read_proposal_scores
from moa_graph.evals.report.measurement import SystemMeasurement
from moa_graph.evals.report.section import ReportSection
from moa_graph.evals.resource_use import CallPrices, read_turn_calls
from moa_graph.evals.results_file import ANSWERS_FILE, JsonRow
from moa_graph.evals.scoring import QualityInterval
from moa_graph.graph.agreement import measure_agreement
from moa_graph.models.offline import find_majority
from moa_graph.models.recorded import read_json_rows

NEVER = 1.01
"""A threshold above any agreement: all layers run."""
MAX_POINTS = 40
_OWN_KEYS = {"name", "layers", "quorum", "grace", "deadline", "prices"}
"""Options in which a mixture and its first layers may differ."""


class ExitPoint(NamedTuple):
    """A layer after which an item could end."""

    agreement: float
    """Agreement of the layer's proposals; above 1 for the last layer, which always ends."""
    quality: float
    cost: float | None
    layers: int


@dataclass(frozen=True)
class CurvePoint:
    """The result of a threshold."""

    threshold: float
    """The threshold; above 1, all layers run."""
    stopped: float
    """Share of instructions that stop before the last layer, in percent."""
    layers: float
    """Mean number of layers of proposers that run."""
    quality: QualityInterval
    difference: QualityInterval
    """Difference of quality to all layers, with the interval of the mean difference."""
    cost: float | None
    """Mean cost of an instruction in US dollars; `None` if one is unknown."""


@dataclass(frozen=True)
class Curve:
    """Quality against cost, by threshold."""

    system: str
    benchmark: str
    metric: str
    points: Sequence[CurvePoint]
    """Points by descending threshold; the first one never stops."""
    instructions: int
    stand_in: bool
    """Whether a proposal replaces the aggregator's answer."""
    unmatched: int
    """Number of instructions left out because of missing data."""


def replay(out: Path, section: ReportSection, mixture: SystemMeasurement) -> Curve:
    """Replay the stored proposals of a mixture at many thresholds.

    Args:
        out: The folder of the comparison.
        section: Its benchmark.
        mixture: The mixture.

    Raises:
        ValueError: If it has one layer, or the answers of early stops are unknown.
    """
    configuration = mixture.generation["configuration"]
    depth = len(configuration["layers"])
    if configuration.get("early_stop") is not None and not configuration.get("shadow"):
        raise ValueError(
            f"{mixture.system}: early_stop={configuration['early_stop']}: it has stopped early; "
            "expected a mixture that runs all layers"
        )
    if depth < 2:  # noqa: PLR2004  # one always runs
        raise ValueError(f"{mixture.system}: expected two or more layers of proposers, got {depth}")
    reader = _ExitPointReader(out / section.benchmark, section, mixture, depth)
    exits = {item: found for item in reader.rows if (found := list(reader.list_exit_points(item)))}
    complete = {item: found for item, found in exits.items() if len(found) == depth}
    if len(complete) == 1:
        raise ValueError(f"{mixture.system}: expected at least 2 stored instructions, got 1")
    if not complete:
        raise ValueError(
            f"{mixture.system}: it is not stored what stopping early would have given; run the "
            "plan with the analysis early_stop of it, or with an exact scorer"
        )
    items = list(complete.values())
    bounds = mixture.score.protocol.score_bounds
    points = [_measure(items, threshold, bounds) for threshold in _list_thresholds(items)]
    return Curve(
        mixture.system,
        section.benchmark,
        section.metric,
        points,
        len(items),
        reader.stand_in,
        len(reader.rows) - len(complete),
    )


class _ExitPointReader:
    """Reads the possible exits of each item of a mixture."""

    def __init__(
        self, folder: Path, section: ReportSection, mixture: SystemMeasurement, depth: int
    ) -> None:
        self._mixture, self._depth = mixture, depth
        self._prices = CallPrices(section.prices)
        self.rows = _read_rows(folder / mixture.system)
        self._shallow = {
            layers: (other.score.by_instruction, _read_rows(folder / other.system))
            for other in section.measurements
            if (layers := _count_shared_layers(mixture, other))
        }
        self._scores = read_proposal_scores(folder / mixture.system)
        self.stand_in = not all(layer in self._shallow for layer in range(1, depth))

    def list_exit_points(self, item: str | int) -> Iterator[ExitPoint]:
        """Return the known exits of an item, layer by layer."""
        row, quality = self.rows[item], self._mixture.score.by_instruction.get(item)
        proposals: Mapping[str, JsonRow] = row["turns"][-1]["proposals"]
        for layer in range(1, self._depth):
            texts = {
                node: each["content"]
                for node, each in proposals.items()
                if each["layer"] == layer and each["error"] is None
            }
            found = self._find_exit(item, layer, texts)
            if found is None:
                return
            measured = measure_agreement(texts)
            yield ExitPoint(measured["figure"] if measured else 0.0, *found, layer)
        if quality is not None:
            yield ExitPoint(NEVER, quality, self._sum_costs(row), self._depth)

    def _find_exit(
        self, item: str | int, layer: int, texts: Mapping[str, str]
    ) -> tuple[float, float | None] | None:
        """Return quality and cost of an exit after a layer, if known."""
        if not self.stand_in:
            qualities, rows = self._shallow[layer]
            if item not in qualities or item not in rows:
                return None
            return qualities[item], self._sum_costs(rows[item])
        scores: ScoresByItem = self._scores.get(layer, {})
        if not texts or any(node not in scores.get(item, {}) for node in texts):
            return None
        chosen = list(texts)[find_majority(list(texts.values())) - 1]
        return 100 * scores[item][chosen].points, self._sum_costs(self.rows[item], layer)

    def _sum_costs(self, row: JsonRow, layers: int | None = None) -> float | None:
        """Return the cost of a row's calls, or of those of its first layers and the aggregator."""
        calls = [call for turn in row["turns"] for call in read_turn_calls(turn)]
        last = max(call.layer for call in calls)
        kept = [
            call for call in calls if layers is None or call.layer in {*range(layers + 1), last}
        ]
        return self._prices.sum_costs(kept)


def _read_rows(folder: Path) -> dict[str | int, JsonRow]:
    rows = {row["id"]: row for row in read_json_rows(folder / ANSWERS_FILE)}
    return {item: row for item, row in rows.items() if row["error"] is None}


def _count_shared_layers(mixture: SystemMeasurement, other: SystemMeasurement) -> int:
    """Return the layers of a system that is the start of a mixture; 0 for others."""
    whole, part = (each.generation["configuration"] for each in (mixture, other))
    keys = (whole.keys() | part.keys()) - _OWN_KEYS
    count = len(part["layers"])
    keys -= {"references_per_reader"} if count == 1 else set()  # the aggregator always reads all
    is_part = part["layers"] == whole["layers"][:count] and count < len(whole["layers"])
    return count if is_part and all(whole.get(key) == part.get(key) for key in keys) else 0


def _list_thresholds(items: Sequence[Sequence[ExitPoint]]) -> list[float]:
    """Return the thresholds at which a result changes, thinned if there are many, highest first."""
    figures = sorted({e.agreement for exits in items for e in exits if 0 < e.agreement <= 1})
    found = list(map(_shorten_threshold, figures, [0.0, *figures]))
    if len(found) > MAX_POINTS:
        step = (len(found) - 1) / (MAX_POINTS - 1)
        found = [found[round(number * step)] for number in range(MAX_POINTS)]
    return [NEVER, *reversed(found)]


def _shorten_threshold(figure: float, lower: float) -> float:
    """Round a figure down to two places, to type it, unless that reaches the next lower one."""
    short = math.floor(100 * figure + 1e-9) / 100
    return short if short > lower else figure


def _measure(
    items: Sequence[Sequence[ExitPoint]], threshold: float, bounds: tuple[float, float] | None
) -> CurvePoint:
    ends = [next(e for e in exits if e.agreement >= min(threshold, NEVER)) for exits in items]
    qualities = [end.quality for end in ends]
    differences = [end.quality - exits[-1].quality for end, exits in zip(ends, items, strict=True)]
    costs = [end.cost for end in ends]
    known = [cost for cost in costs if cost is not None]
    return CurvePoint(
        threshold,
        100 * fmean(end.agreement < NEVER for end in ends),
        fmean(end.layers for end in ends),
        _with_interval(qualities, bounds),
        _with_interval(differences, bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0])),
        fmean(known) if len(known) == len(costs) else None,
    )


def _with_interval(values: Sequence[float], bounds: Any = None) -> QualityInterval:
    value = fmean(values)
    return QualityInterval(value, *(mean_interval(values, bounds) or (value, value)))
