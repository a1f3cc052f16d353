"""Read a comparison: what its folders hold, put together for the report."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from moa_graph.evals.benchmarks.alpaca_eval.baselines import LengthControlBaselines
from moa_graph.evals.benchmarks.registry import benchmark_for, benchmark_names
from moa_graph.evals.comparison import COMPARISON_FILE
from moa_graph.evals.correlation import Correlation, correlate
from moa_graph.evals.panel import JudgePanel, build_panel
from moa_graph.evals.proposal_judging import PROPOSAL_JUDGEMENTS_FILE, read_samples
from moa_graph.evals.resource_use import ResourceUse, measure_resource_use, read_turn_calls
from moa_graph.evals.results_file import ANSWERS_FILE
from moa_graph.evals.results_file import GENERATION_MANIFEST as GENERATION
from moa_graph.evals.results_file import JUDGING_MANIFEST as JUDGING
from moa_graph.evals.scoring import (
    MissingScore,
    QualityInterval,
    SystemScore,
    average_quality,
    compare_all,
    have_headline,
    name_metric,
    score_system_by_judge,
)
from moa_graph.models.recorded import read_json_rows
from moa_graph.runs.record import AgentCall


@dataclass(frozen=True)
class SystemMeasurement:
    """A system on a benchmark."""

    system: str
    score: SystemScore
    quality: QualityInterval
    resource_use: ResourceUse
    """Of all runs."""
    generation: Mapping[str, Any]
    """The manifest of its answers."""
    runs: Sequence[SystemScore]
    """The scores of all runs that have one, the first one first."""
    mean_quality: QualityInterval
    """The mean of all runs, with the interval over instructions."""
    run_costs: "RepeatedRuns"
    """What an instruction cost in each run, in US dollars; empty where it is not known of all."""


@dataclass(frozen=True)
class RepeatedRuns:
    """A figure of the runs of a system that was repeated."""

    values: Sequence[float]

    @property
    def deviation(self) -> float | None:
        """The standard deviation; `None` if there is a single run."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        if len(self.values) < 2:  # noqa: PLR2004  # one has no deviation
            return "-"
        mean, deviation = fmean(self.values), self.deviation
        places = 1 if mean > 10 else 2  # noqa: PLR2004  # percent, or grades
        return f"{mean:.{places}f} ± {deviation:.{places}f} ({len(self.values)} runs)"


@dataclass(frozen=True)
class MissingMeasurement:
    """A system without a figure on a benchmark."""

    score: MissingScore
    generation: Mapping[str, Any]
    """The manifest of its answers."""


@dataclass(frozen=True)
class MeasuredPoint:
    """A point of an analysis."""

    curve: str
    x: float | str
    measurement: SystemMeasurement
    verdict: str | None
    """How it compares with the system that it is to be compared with."""


@dataclass(frozen=True)
class AnalysisResult:
    """An analysis of a mixture, on a benchmark."""

    of: str
    name: str
    points: Sequence[MeasuredPoint]

    @property
    def curves(self) -> dict[str, list[MeasuredPoint]]:
        """The dots of each curve."""
        by_curve: dict[str, list[MeasuredPoint]] = {}
        for dot in self.points:
            by_curve.setdefault(dot.curve, []).append(dot)
        return by_curve


@dataclass(frozen=True)
class ReportSection:
    """A benchmark, and all that was measured on it."""

    benchmark: str
    metric: str
    """What `quality` is."""
    controlled: bool
    """Whether `quality` is the length-controlled win rate, or another headline of its benchmark."""
    measurements: Sequence[SystemMeasurement]
    missing: Sequence[MissingMeasurement]
    """Systems of which nothing could be judged: no figure, no picture, no comparison."""
    named: Sequence[SystemMeasurement]
    """Those that are not only points of analyses."""
    verdicts: Sequence[str]
    """Each two of these, those with the first one first."""
    analyses: Sequence[AnalysisResult]
    repeated: Mapping[str, RepeatedRuns]
    """By system, if they were repeated."""
    correlations: Mapping[str, Mapping[str, Correlation]]
    """Of each system that it was asked for, by measure of likeness."""
    panel: JudgePanel | None
    """What the judges say of the named systems; `None` if none of these has a figure."""

    @property
    def unit(self) -> str:
        """What a system takes tokens and money for: `instruction`, or `turn` of a conversation."""
        is_per_turn = any(each.resource_use.is_per_turn for each in self.measurements)
        return "turn" if is_per_turn else "instruction"

    @property
    def labels(self) -> dict[str, list[str]]:
        """What has to be said wherever figures from here stand, and of which systems."""
        by_label: dict[str, list[str]] = {}
        for scored in self._all_scores:
            for label in (*scored.labels, *_unavailable_labels(scored)):
                by_label.setdefault(label, []).append(scored.system)
        return by_label

    @property
    def size(self) -> int:
        """How many systems there are, with a figure or without."""
        return len(self._all_scores)

    @property
    def _all_scores(self) -> list[SystemScore | MissingScore]:
        return [*(each.score for each in self.measurements), *(each.score for each in self.missing)]

    @property
    def footnote(self) -> str:
        """The labels as one text: for a picture, which may be seen alone."""
        parts = [
            label if len(systems) == self.size else f"{label} ({list_names(systems)})"
            for label, systems in self.labels.items()
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class ComparisonInfo:
    """What the folders are, as `moa eval run` wrote it down."""

    named: Sequence[str] = ()
    systems: Sequence[str] = ()
    points: Sequence[Mapping[str, Any]] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    gamed_baselines: str | None = None
    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The runs of each system that was repeated, the first one first."""

    @property
    def later_runs(self) -> set[str]:
        """The runs whose figures only tell how those of the first one vary."""
        return {run for runs in self.runs.values() for run in runs[1:]}


def read_comparison_info(out: Path) -> ComparisonInfo:
    """Read what a comparison is; a folder without a plan is one without analyses.

    Raises:
        ValueError: If the account cannot be read.
    """
    path = out / COMPARISON_FILE
    if not path.exists():
        return ComparisonInfo()
    try:
        stored = {"runs": {}, **json.loads(path.read_text(encoding="utf-8"))}
        return ComparisonInfo(
            **{name: stored[name] for name in ComparisonInfo.__dataclass_fields__}
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: not written by moa eval run: {error}") from None


def read_sections(
    folders: Sequence[Path], comparison: ComparisonInfo, baselines: LengthControlBaselines | str
) -> Iterator[ReportSection]:
    """Read all that was measured.

    Args:
        folders: Those of systems with judgements: `OUT/BENCHMARK/NAME`.
        comparison: What they are.
        baselines: As in `score`.

    Raises:
        ValueError: If a folder cannot be read, or its answers changed since they were judged.
    """
    order = {name: position for position, name in enumerate(comparison.systems)}
    sections = {name: place for place, name in enumerate(benchmark_names())}
    ordered = sorted(
        folders,
        key=lambda each: (
            sections.get(each.parent.name, len(sections)),
            each.parent.name,
            order.get(each.name, len(order)),
            each.name,
        ),
    )
    for benchmark, group in groupby(ordered, lambda each: each.parent.name):
        yield _read_section(benchmark, list(group), comparison, baselines)


def _read_section(
    benchmark: str,
    folders: Sequence[Path],
    comparison: ComparisonInfo,
    baselines: LengthControlBaselines | str,
) -> ReportSection:
    by_judge = {folder: score_system_by_judge(folder, baselines) for folder in folders}
    scores = {folder: each[0] for folder, each in by_judge.items()}
    scored = {folder: each for folder, each in scores.items() if isinstance(each, SystemScore)}
    has_headline = have_headline(list(scored.values()))
    repeated = _measure_repeats(comparison, list(scored.values()), is_headline=has_headline)
    runs = {score.system: score for score in scored.values()}
    scored = {
        folder: each for folder, each in scored.items() if each.system not in comparison.later_runs
    }
    measurements = [
        _measure_system(folder, each, runs, comparison, is_headline=has_headline)
        for folder, each in scored.items()
    ]
    named = [each for each in measurements if each.system in comparison.named] or measurements
    by_name = {each.system: each for each in measurements}
    return ReportSection(
        benchmark=benchmark,
        metric=_name_section_metric(benchmark, list(scored.values())),
        controlled=has_headline,
        measurements=measurements,
        missing=list(_find_missing(scores)),
        named=named,
        verdicts=_compare_measurements(combinations(named, 2), is_headline=has_headline),
        analyses=list(_read_analyses(comparison, by_name, is_headline=has_headline)),
        repeated=repeated,
        correlations=_read_correlations(scored),
        panel=_build_panel(named, by_judge.values()),
    )


def _build_panel(
    named: Sequence[SystemMeasurement], by_judge: Iterable[Sequence[SystemScore | MissingScore]]
) -> JudgePanel | None:
    names = {each.system for each in named}
    scores = [each for scores in by_judge for each in scores if isinstance(each, SystemScore)]
    judged = [each for each in scores if each.system in names]
    return build_panel(judged) if judged else None


def _measure_system(
    folder: Path,
    score: SystemScore,
    by_run: Mapping[str, SystemScore],
    comparison: ComparisonInfo,
    *,
    is_headline: bool,
) -> SystemMeasurement:
    names = comparison.runs.get(score.system, [score.system])
    runs = [by_run[name] for name in names if name in by_run]
    quality = score.estimate_quality(is_headline=is_headline)
    mean_quality = average_quality(runs, is_headline=is_headline) if len(runs) > 1 else None
    calls = [_read_calls(folder.with_name(run.system)) for run in runs]
    use = _measure_runs(calls, comparison)
    costs = [_measure_runs([each], comparison).cost.value for each in calls]
    return SystemMeasurement(
        score.system,
        score,
        quality,
        use,
        _read_generation_manifest(folder),
        runs,
        mean_quality or quality,
        RepeatedRuns([] if None in costs else [cost for cost in costs if cost is not None]),
    )


def _name_section_metric(benchmark: str, scores: Sequence[SystemScore]) -> str:
    return name_metric(scores) if scores else benchmark_for(benchmark).metric(is_headline=False)


def _measure_repeats(
    comparison: ComparisonInfo, scores: Sequence[SystemScore], *, is_headline: bool
) -> dict[str, RepeatedRuns]:
    by_run = {score.system: score for score in scores}
    repeats = dict[str, RepeatedRuns]()
    for name, runs in comparison.runs.items():
        found = (by_run[run] for run in runs if run in by_run)
        quality = (score.estimate_quality(is_headline=is_headline) for score in found)
        repeats[name] = RepeatedRuns([each.value for each in quality])
    return repeats


def _find_missing(
    scores: Mapping[Path, SystemScore | MissingScore],
) -> Iterator[MissingMeasurement]:
    for folder, score in scores.items():
        if isinstance(score, MissingScore):
            yield MissingMeasurement(score, _read_generation_manifest(folder))


def _read_correlations(folders: Iterable[Path]) -> dict[str, Mapping[str, Correlation]]:
    return {
        folder.name: correlate(read_samples(folder))
        for folder in folders
        if (folder / PROPOSAL_JUDGEMENTS_FILE).is_file()
    }


def _unavailable_labels(scored: SystemScore | MissingScore) -> Iterator[str]:
    if isinstance(scored, SystemScore):
        missing = benchmark_for(scored.benchmark).missing_figures(scored.figures)
        yield from (f"{figure}: unavailable, {reason}" for figure, reason in missing.items())


def _read_generation_manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / GENERATION).read_text(encoding="utf-8")))


def _read_calls(folder: Path) -> list[list[list[AgentCall]]]:
    """Read the calls of a run: of each conversation, of each turn."""
    rows = {row["id"]: row for row in read_json_rows(folder / ANSWERS_FILE)}.values()
    conversations = [row["turns"] for row in rows if row["error"] is None]
    return [[read_turn_calls(turn) for turn in turns] for turns in conversations]


def _measure_runs(
    runs: Sequence[Sequence[Sequence[Sequence[AgentCall]]]], comparison: ComparisonInfo
) -> ResourceUse:
    """Measure what an instruction takes, on average over the runs."""
    conversations = [each for run in runs for each in run]
    calls = [turn for turns in conversations for turn in turns]
    use = measure_resource_use(calls, comparison.prices, comparison.sizes)
    return replace(use, is_per_turn=any(len(turns) > 1 for turns in conversations))


def _read_analyses(
    comparison: ComparisonInfo, by_name: Mapping[str, SystemMeasurement], *, is_headline: bool
) -> Iterator[AnalysisResult]:
    points = [point for point in comparison.points if point["system"] in by_name]
    for (of, name), group in groupby(points, lambda each: (each["of"], each["analysis"])):
        in_analysis = list(group)
        compared = [
            point
            for point in in_analysis
            if point["against"] in by_name and point["against"] != point["system"]
        ]
        verdicts = iter(
            _compare_measurements(
                [(by_name[each["system"]], by_name[each["against"]]) for each in compared],
                is_headline=is_headline,
            )
        )
        dots = [
            MeasuredPoint(
                point["curve"],
                point["x"],
                by_name[point["system"]],
                next(verdicts) if point in compared else None,
            )
            for point in in_analysis
        ]
        yield AnalysisResult(of, name, dots)


def _compare_measurements(
    pairs: Iterable[tuple[SystemMeasurement, SystemMeasurement]], *, is_headline: bool
) -> list[str]:
    found = compare_all(((a.score, b.score) for a, b in pairs), is_headline=is_headline)
    return [f"not compared: {each}" if isinstance(each, str) else each.verdict for each in found]


def list_names(systems: Sequence[str], max_names: int = 3) -> str:
    """Name systems, or some of many."""
    more = f" and {len(systems) - max_names} more" if len(systems) > max_names else ""
    return ", ".join(systems[:max_names]) + more


def find_judged_folders(out: Path, comparison: ComparisonInfo) -> tuple[list[Path], list[Path]]:
    """Find the folders of systems that were judged.

    Returns:
        Those of the comparison's systems, and others: without a plan there are none.

    Raises:
        ValueError: If there is none at all.
    """
    if not (folders := [path.parent for path in sorted(out.glob(f"*/*/{JUDGING}"))]):
        raise ValueError(
            f"{out}: nothing is judged in it; expected the folder of a comparison, as moa eval run "
            "or moa eval generate and moa eval judge write it"
        )
    system_names = set(comparison.systems) or {folder.name for folder in folders}
    return (
        [folder for folder in folders if folder.name in system_names],
        [folder for folder in folders if folder.name not in system_names],
    )
