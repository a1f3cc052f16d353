"""The figures of a report."""

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import pairwise
from math import pi
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from moa_graph.evals.budget import pareto_front
from moa_graph.evals.flask import FlaskScore
from moa_graph.evals.reporting.reading import Analysis, Measurement, Section, names_of
from moa_graph.evals.reporting.style import (
    COLOURS,
    DASHES,
    INK,
    MARKERS,
    SOFT,
    Picture,
    finish,
    styled,
)

WIDTH = 6.4  # inches
ROW = 0.28  # inches of a row of dots
STEPS = 12  # points that stand for a line
FEWEST_SPOKES = 3
FAR_APART = 10  # times, from which on an axis is logarithmic
OFFSETS = [(6, 5), (6, -9), (-6, 5), (-6, -9), (6, 14), (6, -18), (-6, 14), (-6, -18), (0, 20)]

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
    with styled():
        yield _qualities(section)
        if picture := _radar(section):
            yield picture
        for key, unit in (("cost", "US dollars per instruction"), ("teraflops", "TFLOPs")):
            if picture := _pareto(section, key, unit):
                yield picture
        for analysis in section.analyses:
            yield _analysis(section, analysis)
        if section.correlations:
            yield _correlations(section)


def _qualities(section: Section) -> Picture:
    rows = sorted(section.named, key=lambda each: each.quality.value)
    figure, axes = _canvas(0.9 + ROW * len(rows))
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


def _pareto(section: Section, key: str, unit: str) -> Picture | None:
    def taken(each: Measurement) -> float | None:
        return getattr(each.budget, key).value  # type: ignore[no-any-return]

    known = [(each, x) for each in section.measured if (x := taken(each)) is not None]
    if len(known) < 2 or not any(x for _, x in known):  # noqa: PLR2004  # nothing to weigh
        return None
    front = pareto_front({each.system: (x, each.quality.value) for each, x in known})
    figure, axes = _canvas(3.9)
    named = {each.system for each in section.named}
    points = {each.system: (x, each.quality.value) for each, x in known}
    others = [points[name] for name in points if name not in named and name not in front]
    if others:
        axes.plot(*zip(*others, strict=True), "o", color=SOFT, markersize=3.5, alpha=0.6)
    for name in (name for name in points if name in named or name in front):
        best = name in front
        axes.plot(
            *points[name],
            MARKERS[0] if best else MARKERS[1],
            color=COLOURS[0] if best else COLOURS[1],
            markersize=6,
        )
    axes.step(
        *zip(*(points[name] for name in front), strict=True),
        where="post",
        color=COLOURS[0],
        linewidth=1.2,
    )
    values = [x for _, x in known if x]
    if len(values) == len(known) and max(values) > FAR_APART * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(unit if key == "cost" else f"{unit} per instruction, of the tokens written")
    axes.set_ylabel(section.metric)
    axes.margins(0.12)
    shown = sorted(
        (name for name in points if name in named or name in front),
        key=lambda name: name not in named,
    )
    line = [points[name] for name in front]
    _label(axes, {name: points[name] for name in shown}, [*others, *_along(axes, line)], named)
    what = "cost" if key == "cost" else "operations"
    left_out = names_of([each.system for each in section.measured if taken(each) is None])
    caption = (
        f"{section.benchmark}: {section.metric}, against {unit.removesuffix(' per instruction')} "
        f"for an instruction; {'variants in grey; ' if others else ''}the line joins the systems "
        f"than which none is both better and cheaper: {', '.join(front)}"
        f"{f'; unknown: {left_out}' if left_out else ''}"
    )
    return _finish(section, figure, f"pareto-{what}", caption)


def _label(
    axes: Axes,
    points: Mapping[str, tuple[float, float]],
    others: Sequence[tuple[float, float]],
    needed: Container[str],
) -> None:
    """Write names beside points, each where it covers no other; what has no place needs none."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    taken = [_around(axes.transData.transform(point)) for point in (*points.values(), *others)]
    for name, point in points.items():
        if place := _free_place(axes, name, point, taken):
            taken.append(place)
        elif name in needed:
            axes.annotate(name, point, OFFSETS[0], textcoords="offset points", fontsize=8)


def _free_place(axes: Axes, name: str, point: tuple[float, float], taken: Sequence[Any]) -> Any:
    """Write a name where it covers nothing; give its box, or `None` if there is no such place."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = axes.get_window_extent(renderer)
    for dx, dy in OFFSETS:
        side = "left" if dx > 0 else "right" if dx < 0 else "center"
        text = axes.annotate(
            name, point, (dx, dy), textcoords="offset points", fontsize=8, ha=side, color=INK
        )
        box = text.get_window_extent(renderer)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
        if inside and not any(box.overlaps(other) for other in taken):
            return box
        text.remove()
    return None


def _along(axes: Axes, line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give points along the steps of a line, close enough that no name fits between them."""
    found = list[tuple[float, float]]()
    for (x, y), (next_x, next_y) in pairwise(line):
        for start, end in (((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))):
            ends = axes.transData.transform([start, end])
            way = np.linspace(ends[0], ends[1], STEPS)
            found += [tuple(each) for each in axes.transData.inverted().transform(way)]
    return found


def _around(place: Any, reach: float = 5) -> Any:
    x, y = place
    return Bbox([[x - reach, y - reach], [x + reach, y + reach]])


def _analysis(section: Section, analysis: Analysis) -> Picture:
    draw = _lines if all(isinstance(dot.x, int | float) for dot in analysis.dots) else _rows
    figure = draw(section, analysis)
    title = TITLES.get(analysis.name, analysis.name)
    intervals = "" if section.controlled else "; 95 % intervals"
    caption = f"{section.benchmark}: {title.lower()}, variants of {analysis.of}{intervals}"
    return _finish(section, figure, f"{analysis.name}-{stem(analysis.of)}", caption)


def _lines(section: Section, analysis: Analysis) -> Figure:
    """Draw curves over numbers."""
    figure, axes = _canvas(3.4)
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
    figure, axes = _canvas(1.1 + 1.3 * ROW * len(names))
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
    figure, axes = _canvas(1.1 + ROW * 1.3 * len(measures))
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


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _finish(section: Section, figure: Figure, name: str, caption: str) -> Picture:
    return finish(figure, f"{section.benchmark}-{name}", caption, section.footnote)


def stem(of: str) -> str:
    """Give what a mixture is called in names of files."""
    return PurePath(of).stem
