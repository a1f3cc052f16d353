"""Read the folders of a comparison for the report."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from moa_graph.evals.benchmarks.alpaca_eval.baselines import LengthControlBaselines
from moa_graph.evals.benchmarks.registry import benchmark_for, benchmark_names
from moa_graph.evals.correlation import Correlation, correlate
from moa_graph.evals.diversity import Diversity, measure_diversity
from moa_graph.evals.judging.proposal_scores import read_proposal_scores
from moa_graph.evals.panel import JudgePanel, build_panel
from moa_graph.evals.proposal_judging import PROPOSAL_JUDGEMENTS_FILE, read_samples
from moa_graph.evals.report.comparison_info import ComparisonInfo
from moa_graph.evals.report.contributions import Contributions, measure_contributions
from moa_graph.evals.report.cost_comparison import CostComparison, compare_costs
from moa_graph.evals.report.measurement import RepeatedRuns, SystemMeasurement
from moa_graph.evals.report.section import (
    AnalysisResult,
    MeasuredPoint,
    MissingMeasurement,
    ReportSection,
)
from moa_graph.evals.resource_use import ResourceUse, measure_resource_use, read_turn_calls
from moa_graph.evals.results_file import ANSWERS_FILE
from moa_graph.evals.results_file import GENERATION_MANIFEST as GENERATION
from moa_graph.evals.scoring import (
    MissingScore,
    SystemScore,
    average_quality,
    compare_all,
    have_headline,
    name_metric,
    score_system_by_judge,
)
from moa_graph.models.recorded import read_json_rows
from moa_graph.runs.agent_call import AgentCall

LEAVE_ONE_OUT = "leave_one_out"


def read_sections(
    folders: Sequence[Path], comparison: ComparisonInfo, baselines: LengthControlBaselines | str
) -> Iterator[ReportSection]:
    """Read all measurements.

    Args:
        folders: Folders of judged systems: `OUT/BENCHMARK/NAME`.
        comparison: Description of the comparison.
        baselines: As in `score`.

    Raises:
        ValueError: If a folder cannot be read, or its answers have changed since the judging.
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
    section = ReportSection(
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
        prices=comparison.prices,
        diversities=dict(_measure_diversities(named, scored)),
    )
    return replace(
        section,
        cost_comparisons=list(_compare_mixtures(section, comparison)),
        contributions=dict(_list_contributions(section)),
    )


def _list_contributions(section: ReportSection) -> Iterator[tuple[str, Contributions]]:
    for analysis in section.analyses:
        if analysis.name == LEAVE_ONE_OUT and analysis.base:
            contributions = measure_contributions(
                analysis.base,
                [(str(dot.x), dot.measurement) for dot in analysis.points],
                metric=section.metric,
                unit=section.unit,
                is_headline=section.controlled,
            )
            if contributions:
                yield analysis.of, contributions


def _compare_mixtures(
    section: ReportSection, comparison: ComparisonInfo
) -> Iterator[CostComparison]:
    """Compare mixtures with all systems that are not variants of another one."""
    mixtures = [each for each in section.named if each.generation["configuration"]["layers"]]
    for mixture in mixtures:
        points = [each for each in comparison.points if each["of"] == mixture.system]
        known = {each["system"] for each in points} | {each.system for each in section.named}
        others = [
            each for each in section.measurements if each is not mixture and each.system in known
        ]
        alone = [each for each in others if not each.generation["configuration"]["layers"]]
        costs = compare_costs(
            mixture,
            others,
            [each.system for each in alone],
            metric=section.metric,
            unit=section.unit,
            is_headline=section.controlled,
        )
        if costs and alone:
            yield costs


def _measure_diversities(
    named: Iterable[SystemMeasurement], folders: Mapping[Path, SystemScore]
) -> Iterator[tuple[str, Diversity]]:
    by_system = {score.system: folder for folder, score in folders.items()}
    for each in named:
        layers = list(read_proposal_scores(by_system[each.system]).values())
        if layers and (diversity := measure_diversity(layers[-1])):
            yield each.system, diversity


def _build_panel(
    named: Sequence[SystemMeasurement], by_judge: Iterable[Sequence[SystemScore | MissingScore]]
) -> JudgePanel | None:
    names = {each.system for each in named}
    scores = [each for scores in by_judge for each in scores if isinstance(each, SystemScore)]
    judged = [each for each in scores if each.system in names and each.protocol.has_judge]
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


def _read_generation_manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / GENERATION).read_text(encoding="utf-8")))


def _read_calls(folder: Path) -> list[list[list[AgentCall]]]:
    """Read the calls of a run; each turn of a conversation is separate."""
    rows = {row["id"]: row for row in read_json_rows(folder / ANSWERS_FILE)}.values()
    conversations = [row["turns"] for row in rows if row["error"] is None]
    return [[read_turn_calls(turn) for turn in turns] for turns in conversations]


def _measure_runs(
    runs: Sequence[Sequence[Sequence[Sequence[AgentCall]]]], comparison: ComparisonInfo
) -> ResourceUse:
    """Return the mean resource use of an instruction over the runs."""
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
        yield AnalysisResult(of, name, dots, by_name.get(of))


def _compare_measurements(
    pairs: Iterable[tuple[SystemMeasurement, SystemMeasurement]], *, is_headline: bool
) -> list[str]:
    found = compare_all(((a.score, b.score) for a, b in pairs), is_headline=is_headline)
    return [f"not compared: {each}" if isinstance(each, str) else each.verdict for each in found]
