"""The figures of a report."""

from collections.abc import Iterator, Sequence
from math import pi
from pathlib import PurePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.report.pareto import draw_pareto
from moa_graph.evals.report.results import AnalysisResult, ReportSection
from moa_graph.evals.report.style import (
    COLOURS,
    DASHES,
    MARKERS,
    SOFT,
    WIDTH,
    RenderedFigure,
    figure_style,
    new_figure,
    render_figure,
)

ROW_HEIGHT = 0.28  # inches of a row of dots
MIN_SPOKES = 3

TITLES = {
    "proposers": "Number of proposers",
    "roles": "Models as aggregator and as proposer",
    "collaborativeness": "Alone, and with the answers of others",
    "depth": "Number of layers",
    "ranker": "Writing against picking a proposal",
}
_LAYERS = "layers as the paper counts them: the last one is the aggregator alone"
X_LABELS = {"proposers": "proposers in the layer", "depth": _LAYERS, "ranker": _LAYERS}


def draw_section(section: ReportSection) -> Iterator[RenderedFigure]:
    """Draw all figures of a benchmark."""
    if not section.measurements:
        return
    with figure_style():
        yield _draw_quality(section)
        if picture := _draw_skills(section):
            yield picture
        for key, amount in (("cost", "US dollars"), ("teraflops", "TFLOPs")):
            if picture := draw_pareto(section, key, amount):
                yield picture
        for analysis in section.analyses:
            yield _draw_analysis(section, analysis)
        if section.correlations:
            yield _draw_correlations(section)


def _draw_quality(section: ReportSection) -> RenderedFigure:
    rows = sorted(section.named, key=lambda each: each.quality.value)
    figure, axes = new_figure(0.9 + ROW_HEIGHT * len(rows))
    for y, each in enumerate(rows):
        _plot_interval(axes, each.quality, y, COLOURS[0], MARKERS[0])
    axes.set_yticks(range(len(rows)), [each.system for each in rows])
    axes.set_xlabel(section.metric)
    axes.grid(visible=False, axis="y")
    caption = f"{section.benchmark}: {section.metric}, with 95 % intervals"
    return _render_section_figure(section, figure, "quality", caption)


def _plot_interval(axes: Axes, quality: Any, y: float, colour: str, marker: str) -> None:
    axes.plot([quality.low, quality.high], [y, y], color=colour, linewidth=1.4)
    axes.plot([quality.value], [y], color=colour, marker=marker, markersize=5.5)


def _draw_skills(section: ReportSection) -> RenderedFigure | None:
    benchmark = benchmark_for(section.benchmark)
    systems = [
        (each, benchmark.radar_means(each.score.figures)) for each in section.named[: len(COLOURS)]
    ]
    skills = list(dict.fromkeys(skill for _, found in systems for skill in found))
    if len(skills) < MIN_SPOKES:
        return None
    figure = Figure(figsize=(WIDTH, 6), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    angles = [2 * pi * index / len(skills) for index in range(len(skills))]
    for number, (each, scores_by_skill) in enumerate(systems):
        means = [scores_by_skill.get(skill) for skill in skills]
        values = [float("nan") if mean is None else mean for mean in means]
        axes.plot(
            [*angles, angles[0]],
            [*values, values[0]],
            color=COLOURS[number],
            marker=MARKERS[number],
            linestyle=DASHES[number],
            markersize=4,
            linewidth=1.3,
            label=each.system,
        )
    _format_polar_axes(axes, angles, skills)
    figure.legend(loc="outside upper left", ncols=3)
    is_partial = len(systems) < len(section.named)
    part = f", the first {len(systems)} systems" if is_partial else ""
    return _render_section_figure(
        section, figure, "skills", f"{section.benchmark}: mean score by skill{part}"
    )


def _format_polar_axes(axes: Any, angles: Sequence[float], skills: Sequence[str]) -> None:
    axes.set_theta_offset(pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, skills)
    axes.set_ylim(0, 5)
    axes.set_yticks(range(1, 6), [str(n) for n in range(1, 6)], color=SOFT, fontsize=7)
    axes.set_rlabel_position(180 / len(angles))
    axes.tick_params(axis="x", pad=8)
    axes.spines["polar"].set_visible(False)


def _draw_analysis(section: ReportSection, analysis: AnalysisResult) -> RenderedFigure:
    draw = (
        _draw_curves
        if all(isinstance(dot.x, int | float) for dot in analysis.points)
        else _draw_rows
    )
    figure = draw(section, analysis)
    title = TITLES.get(analysis.name, analysis.name)
    caption = f"{section.benchmark}: {title.lower()}, variants of {analysis.of}; 95 % intervals"
    return _render_section_figure(
        section, figure, f"{analysis.name}-{file_stem(analysis.of)}", caption
    )


def _draw_curves(section: ReportSection, analysis: AnalysisResult) -> Figure:
    """Draw curves over numbers."""
    figure, axes = new_figure(3.4)
    for number, (curve, unsorted) in enumerate(analysis.curves.items()):
        dots = sorted(unsorted, key=lambda dot: float(dot.x))
        xs = [float(dot.x) + 0.03 * number for dot in dots]  # intervals beside each other
        values = [dot.measurement.quality for dot in dots]
        axes.errorbar(
            xs,
            [each.value for each in values],
            [
                [each.value - each.low for each in values],
                [each.high - each.value for each in values],
            ],
            color=COLOURS[number],
            marker=MARKERS[number],
            linestyle=DASHES[number],
            markersize=5.5,
            linewidth=1.4,
            elinewidth=1,
            label=curve,
        )
    axes.set_xticks(sorted({float(dot.x) for dot in analysis.points}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(X_LABELS.get(analysis.name, analysis.name))
    axes.set_ylabel(section.metric)
    axes.grid(visible=False, axis="x")
    if len(analysis.curves) > 1:
        figure.legend(loc="outside upper left", ncols=len(analysis.curves))
    return figure


def _draw_rows(section: ReportSection, analysis: AnalysisResult) -> Figure:
    """Draw dots in rows, one for each name."""
    names = list(dict.fromkeys(str(dot.x) for dot in analysis.points))[::-1]
    figure, axes = new_figure(1.1 + 1.3 * ROW_HEIGHT * len(names))
    curves = analysis.curves
    for number, (curve, dots) in enumerate(curves.items()):
        shift = 0.13 * (len(curves) - 1 - 2 * number)
        for dot in dots:
            y = names.index(str(dot.x)) + shift
            _plot_interval(axes, dot.measurement.quality, y, COLOURS[number], MARKERS[number])
        axes.plot([], [], color=COLOURS[number], marker=MARKERS[number], label=curve)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(section.metric)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=len(curves))
    return figure


def _draw_correlations(section: ReportSection) -> RenderedFigure:
    measures = list(next(iter(section.correlations.values())))
    figure, axes = new_figure(1.1 + ROW_HEIGHT * 1.3 * len(measures))
    systems = list(section.correlations.items())[: len(COLOURS)]
    for number, (system, by_measure) in enumerate(systems):
        shift = 0.13 * (len(systems) - 1 - 2 * number)
        for index, measure in enumerate(reversed(measures)):
            each = by_measure[measure]
            if each.mean is None:
                continue
            low, high = (each.mean if end is None else end for end in (each.low, each.high))
            axes.plot([low, high], [index + shift] * 2, color=COLOURS[number], linewidth=1.4)
            axes.plot([each.mean], [index + shift], MARKERS[number], color=COLOURS[number])
        axes.plot([], [], MARKERS[number], color=COLOURS[number], label=system)
    axes.axvline(0, color=SOFT, linewidth=0.8)
    axes.set_yticks(range(len(measures)), measures[::-1])
    axes.set_xlabel("Spearman correlation with the judge's preference")
    axes.grid(visible=False, axis="y")
    if len(systems) > 1:
        figure.legend(loc="outside upper left", ncols=len(systems))
    caption = (
        f"{section.benchmark}: whether the answer is worded like the proposals that the judge "
        "prefers; means over instructions, 95 % intervals"
    )
    return _render_section_figure(section, figure, "correlation", caption)


def _render_section_figure(
    section: ReportSection, figure: Figure, name: str, caption: str
) -> RenderedFigure:
    return render_figure(figure, f"{section.benchmark}-{name}", caption, section.footnote)


def file_stem(of: str) -> str:
    """Give what a mixture is called in names of files."""
    return PurePath(of).stem
