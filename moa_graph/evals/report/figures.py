"""The figures of a report."""

from collections.abc import Iterator, Sequence
from math import pi
from pathlib import PurePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moa_graph.evals.benchmarks.flask.score import FlaskScore
from moa_graph.evals.report.pareto import draw_pareto
from moa_graph.evals.report.results import Analysis, Section
from moa_graph.evals.report.style import (
    COLOURS,
    DASHES,
    MARKERS,
    SOFT,
    WIDTH,
    Picture,
    canvas,
    finish,
    styled,
)

ROW = 0.28  # inches of a row of dots
FEWEST_SPOKES = 3

TITLES = {
    "proposers": "Number of proposers",
    "roles": "Models as aggregator and as proposer",
    "collaborativeness": "Alone, and with the answers of others",
    "depth": "Number of layers",
    "ranker": "Writing against picking a proposal",
}
AXES = {"proposers": "proposers", "depth": "layers", "ranker": "layers"}


def draw_section(section: Section) -> Iterator[Picture]:
    """Draw all figures of a benchmark."""
    if not section.measured:
        return
    with styled():
        yield _qualities(section)
        if picture := _radar(section):
            yield picture
        for key, unit in (("cost", "US dollars per instruction"), ("teraflops", "TFLOPs")):
            if picture := draw_pareto(section, key, unit):
                yield picture
        for analysis in section.analyses:
            yield _analysis(section, analysis)
        if section.correlations:
            yield _correlations(section)


def _qualities(section: Section) -> Picture:
    rows = sorted(section.named, key=lambda each: each.quality.value)
    figure, axes = canvas(0.9 + ROW * len(rows))
    for place, each in enumerate(rows):
        _dot(axes, each.quality, place, COLOURS[0], MARKERS[0])
    axes.set_yticks(range(len(rows)), [each.system for each in rows])
    axes.set_xlabel(section.metric)
    axes.grid(visible=False, axis="y")
    intervals = "" if section.controlled else ", with 95 % intervals"
    caption = f"{section.benchmark}: {section.metric}{intervals}"
    return _finish(section, figure, "quality", caption)


def _dot(axes: Axes, quality: Any, place: float, colour: str, marker: str) -> None:
    axes.plot([quality.low, quality.high], [place, place], color=colour, linewidth=1.4)
    axes.plot([quality.value], [place], color=colour, marker=marker, markersize=5.5)


def _radar(section: Section) -> Picture | None:
    scores = [(each, each.scored.figures) for each in section.named[: len(COLOURS)]]
    known = [(each, found.skills) for each, found in scores if isinstance(found, FlaskScore)]
    skills = list(dict.fromkeys(skill for _, found in known for skill in found))
    if len(skills) < FEWEST_SPOKES:
        return None
    figure = Figure(figsize=(WIDTH, 6), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    angles = [2 * pi * place / len(skills) for place in range(len(skills))]
    for number, (each, found) in enumerate(known):
        values = [found.get(skill, float("nan")) for skill in skills]
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
    _spokes(axes, angles, skills)
    figure.legend(loc="outside upper left", ncols=3)
    shown = len(known) < len(section.named)
    part = f", the first {len(known)} systems" if shown else ""
    return _finish(section, figure, "skills", f"{section.benchmark}: mean score by skill{part}")


def _spokes(axes: Any, angles: Sequence[float], skills: Sequence[str]) -> None:
    axes.set_theta_offset(pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, skills)
    axes.set_ylim(0, 5)
    axes.set_yticks(range(1, 6), [str(n) for n in range(1, 6)], color=SOFT, fontsize=7)
    axes.set_rlabel_position(180 / len(angles))
    axes.tick_params(axis="x", pad=8)
    axes.spines["polar"].set_visible(False)


def _analysis(section: Section, analysis: Analysis) -> Picture:
    draw = _lines if all(isinstance(dot.x, int | float) for dot in analysis.dots) else _rows
    figure = draw(section, analysis)
    title = TITLES.get(analysis.name, analysis.name)
    intervals = "" if section.controlled else "; 95 % intervals"
    caption = f"{section.benchmark}: {title.lower()}, variants of {analysis.of}{intervals}"
    return _finish(section, figure, f"{analysis.name}-{stem(analysis.of)}", caption)


def _lines(section: Section, analysis: Analysis) -> Figure:
    """Draw curves over numbers."""
    figure, axes = canvas(3.4)
    for number, (curve, unsorted) in enumerate(analysis.curves.items()):
        dots = sorted(unsorted, key=lambda dot: float(dot.x))
        xs = [float(dot.x) + 0.03 * number for dot in dots]  # intervals beside each other
        values = [dot.measured.quality for dot in dots]
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
    axes.set_xticks(sorted({float(dot.x) for dot in analysis.dots}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(AXES.get(analysis.name, analysis.name))
    axes.set_ylabel(section.metric)
    axes.grid(visible=False, axis="x")
    if len(analysis.curves) > 1:
        figure.legend(loc="outside upper left", ncols=len(analysis.curves))
    return figure


def _rows(section: Section, analysis: Analysis) -> Figure:
    """Draw dots in rows, one for each name."""
    names = list(dict.fromkeys(str(dot.x) for dot in analysis.dots))[::-1]
    figure, axes = canvas(1.1 + 1.3 * ROW * len(names))
    curves = analysis.curves
    for number, (curve, dots) in enumerate(curves.items()):
        shift = 0.13 * (len(curves) - 1 - 2 * number)
        for dot in dots:
            place = names.index(str(dot.x)) + shift
            _dot(axes, dot.measured.quality, place, COLOURS[number], MARKERS[number])
        axes.plot([], [], color=COLOURS[number], marker=MARKERS[number], label=curve)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(section.metric)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=len(curves))
    return figure


def _correlations(section: Section) -> Picture:
    measures = list(next(iter(section.correlations.values())))
    figure, axes = canvas(1.1 + ROW * 1.3 * len(measures))
    systems = list(section.correlations.items())[: len(COLOURS)]
    for number, (system, found) in enumerate(systems):
        shift = 0.13 * (len(systems) - 1 - 2 * number)
        for place, measure in enumerate(reversed(measures)):
            each = found[measure]
            if each.mean is None:
                continue
            low, high = (each.mean if end is None else end for end in (each.low, each.high))
            axes.plot([low, high], [place + shift] * 2, color=COLOURS[number], linewidth=1.4)
            axes.plot([each.mean], [place + shift], MARKERS[number], color=COLOURS[number])
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
    return _finish(section, figure, "correlation", caption)


def _finish(section: Section, figure: Figure, name: str, caption: str) -> Picture:
    return finish(figure, f"{section.benchmark}-{name}", caption, section.footnote)


def stem(of: str) -> str:
    """Give what a mixture is called in names of files."""
    return PurePath(of).stem
