"""The figures of a report."""

from collections.abc import Iterator, Sequence
from math import pi
from pathlib import PurePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moa_graph.evals.report.pareto import draw_pareto
from moa_graph.evals.report.section import AnalysisResult, ReportSection
from moa_graph.evals.report.style import (
    COLOURS,
    DASHES,
    MARKERS,
    SMALL,
    SOFT,
    WIDTH,
    RenderedFigure,
    break_name,
    figure_style,
    line_style_of,
    new_figure,
    render_figure,
)
from moa_graph.evals.scoring import format_quality

ROW_HEIGHT = 0.28  # height of a row of dots in inches
LINE_HEIGHT = 0.2  # inches of a line of a name that has several
MIN_SPOKES = 3

TITLES = {
    "proposers": "Number of proposers",
    "roles": "Models as aggregator and as proposer",
    "collaborativeness": "Alone, and with the answers of others",
    "depth": "Number of layers",
    "ranker": "Writing against picking a proposal",
    "equal_cost": "One model at the same cost",
    "leave_one_out": "Without one of the proposers",
    "readers": "What readers of proposals read",
    "decision": "How the answer comes out of the proposals",
    "early_stop": "With the first layers only",
}
_LAYERS = "layers as the paper counts them: the last one is the aggregator alone"
X_LABELS = {
    "proposers": "proposers in the layer",
    "depth": _LAYERS,
    "ranker": _LAYERS,
    "early_stop": "layers of proposers that run",
}


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
    figure, axes = _begin_rows([each.system for each in rows], 0.9, ROW_HEIGHT)
    for y, each in enumerate(rows):
        _plot_interval(axes, each.quality, y, COLOURS[0], MARKERS[0])
    axes.set_xlabel(section.metric)
    axes.grid(visible=False, axis="y")
    caption = f"{section.benchmark}: {section.metric}, with 95 % intervals"
    values = [f"{each.system}: {format_quality(each.quality)}" for each in reversed(rows)]
    return _render_section_figure(section, figure, "quality", caption, values)


def _begin_rows(names: Sequence[str], base: float, row_height: float) -> tuple[Figure, Axes]:
    """Create a figure with a row for each name, from the bottom, none of them on the axis."""
    labels = [break_name(name) for name in names]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    height = row_height if lines == 1 else max(row_height, LINE_HEIGHT * lines)
    figure, axes = new_figure(base + height * len(names))
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(-0.6, len(names) - 0.4)
    return figure, axes


def _plot_interval(axes: Axes, quality: Any, y: float, colour: str, marker: str) -> None:
    axes.plot([quality.low, quality.high], [y, y], color=colour, linewidth=1.4)
    axes.plot([quality.value], [y], color=colour, marker=marker, markersize=5.5)


def _draw_skills(section: ReportSection) -> RenderedFigure | None:
    benchmark = section.protocol
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
        radii = [float("nan") if mean is None else mean for mean in means]
        axes.plot(
            [*angles, angles[0]],
            [*radii, radii[0]],
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
    caption = f"{section.benchmark}: mean score from 1 to 5, by skill{part}; without intervals"
    values = [
        f"{each.system}: {', '.join(f'{s} {m:.2f}' for s, m in means.items() if m is not None)}"
        for each, means in systems
    ]
    return _render_section_figure(section, figure, "skills", caption, values)


def _format_polar_axes(axes: Any, angles: Sequence[float], skills: Sequence[str]) -> None:
    axes.set_theta_offset(pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, skills)
    axes.set_ylim(0, 5)
    axes.set_yticks(range(1, 6), [str(n) for n in range(1, 6)], color=SOFT, fontsize=SMALL)
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
    values = [
        f"{dot.curve} at {dot.x}: {format_quality(dot.measurement.quality)}"
        for dot in analysis.points
    ]
    return _render_section_figure(
        section, figure, f"{analysis.name}-{file_stem(analysis.of)}", caption, values
    )


def _draw_curves(section: ReportSection, analysis: AnalysisResult) -> Figure:
    """Draw curves over numbers."""
    figure, axes = new_figure(3.4)
    for number, (curve, unsorted) in enumerate(analysis.curves.items()):
        look = line_style_of(number)
        dots = sorted(unsorted, key=lambda dot: float(dot.x))
        xs = [float(dot.x) + 0.03 * number for dot in dots]  # avoids overlaps
        values = [dot.measurement.quality for dot in dots]
        axes.errorbar(
            xs,
            [each.value for each in values],
            [
                [each.value - each.low for each in values],
                [each.high - each.value for each in values],
            ],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
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
    """Draw dots in rows, one row per name."""
    names = list(dict.fromkeys(str(dot.x) for dot in analysis.points))[::-1]
    figure, axes = _begin_rows(names, 1.1, 1.3 * ROW_HEIGHT)
    curves = analysis.curves
    for number, (curve, dots) in enumerate(curves.items()):
        look, shift = line_style_of(number), 0.13 * (len(curves) - 1 - 2 * number)
        for dot in dots:
            y = names.index(str(dot.x)) + shift
            _plot_interval(axes, dot.measurement.quality, y, look.colour, look.marker)
        axes.plot([], [], color=look.colour, marker=look.marker, label=curve)
    if analysis.base:
        value = analysis.base.quality.value
        axes.axvline(value, color=SOFT, linewidth=1, linestyle="--", label=analysis.of)
    axes.set_xlabel(section.metric)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=len(curves) + bool(analysis.base))
    return figure


def _draw_correlations(section: ReportSection) -> RenderedFigure:
    measures = list(next(iter(section.correlations.values())))
    figure, axes = _begin_rows(measures[::-1], 1.1, 1.3 * ROW_HEIGHT)
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
    axes.set_xlabel("Spearman correlation with the judge's preference")
    axes.grid(visible=False, axis="y")
    if len(systems) > 1:
        figure.legend(loc="outside upper left", ncols=len(systems))
    caption = (
        f"{section.benchmark}: whether the answer is worded like the proposals that the judge "
        "prefers; means over instructions, 95 % intervals"
    )
    values = [
        f"{system}, {measure}: {each.mean:.2f}"
        for system, by_measure in systems
        for measure, each in by_measure.items()
        if each.mean is not None
    ]
    return _render_section_figure(section, figure, "correlation", caption, values)


def _render_section_figure(
    section: ReportSection, figure: Figure, name: str, caption: str, values: Sequence[str]
) -> RenderedFigure:
    name = f"{section.benchmark}-{name}"
    return render_figure(figure, name, caption, section.footnote, values)


def file_stem(of: str) -> str:
    """Return the name of a mixture for file names."""
    return PurePath(of).stem
