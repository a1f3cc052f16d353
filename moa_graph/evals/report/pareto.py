"""The plots of quality against what it takes, with the Pareto front."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from moa_graph.evals.budget import pareto_front
from moa_graph.evals.report.results import Measurement, Section, names_of
from moa_graph.evals.report.style import (
    COLOURS,
    INK,
    MARKERS,
    SOFT,
    Picture,
    canvas,
    finish,
)

STEPS = 12  # points that stand for a line
FAR_APART = 10  # times, from which on an axis is logarithmic
OFFSETS = [(6, 5), (6, -9), (-6, 5), (-6, -9), (6, 14), (6, -18), (-6, 14), (-6, -18), (0, 20)]

Point = tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """What a plot shows."""

    points: Mapping[str, Point]
    """What each system takes, and its quality."""
    front: Sequence[str]
    named: Container[str]
    """Systems of the plan; the others are variants of them."""

    @property
    def line(self) -> list[Point]:
        """The points of the front."""
        return [self.points[name] for name in self.front]

    @property
    def shown(self) -> list[str]:
        """Who has a name in the plot, those first who need it."""
        names = (name for name in self.points if name in self.named or name in self.front)
        return sorted(names, key=lambda name: name not in self.named)

    @property
    def others(self) -> list[Point]:
        """The points of those who have none."""
        shown = set(self.shown)
        return [point for name, point in self.points.items() if name not in shown]


def draw_pareto(section: Section, key: str, unit: str) -> Picture | None:
    """Draw quality against an amount of the budget.

    Args:
        section: The benchmark.
        key: The amount: `cost` or `teraflops`.
        unit: What it is counted in.

    Returns:
        The figure; `None` where there is nothing to weigh.
    """

    def taken(each: Measurement) -> float | None:
        return getattr(each.budget, key).value  # type: ignore[no-any-return]

    points = {
        each.system: (x, each.quality.value)
        for each in section.measured
        if (x := taken(each)) is not None
    }
    if len(points) < 2 or not any(x for x, _ in points.values()):  # noqa: PLR2004
        return None
    plane = Plane(points, pareto_front(points), {each.system for each in section.named})
    figure, axes = canvas(3.9)
    _draw(axes, plane)
    _scale(axes, [x for x, _ in points.values()])
    axes.set_xlabel(unit if key == "cost" else f"{unit} per instruction, of the tokens written")
    axes.set_ylabel(section.metric)
    _label(axes, plane)
    unknown = [each.system for each in section.measured if taken(each) is None]
    what = "cost" if key == "cost" else "operations"
    caption = _caption(section, plane, unit, unknown)
    return finish(figure, f"{section.benchmark}-pareto-{what}", caption, section.footnote)


def _draw(axes: Axes, plane: Plane) -> None:
    if plane.others:
        axes.plot(*zip(*plane.others, strict=True), "o", color=SOFT, markersize=3.5, alpha=0.6)
    for name in plane.shown:
        look = 0 if name in plane.front else 1
        axes.plot(*plane.points[name], MARKERS[look], color=COLOURS[look], markersize=6)
    axes.step(*zip(*plane.line, strict=True), where="post", color=COLOURS[0], linewidth=1.2)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    if min(values) and max(values) > FAR_APART * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.12)


def _caption(section: Section, plane: Plane, unit: str, unknown: Sequence[str]) -> str:
    return (
        f"{section.benchmark}: {section.metric}, against {unit.removesuffix(' per instruction')} "
        f"for an instruction; {'variants in grey; ' if plane.others else ''}the line joins the "
        f"systems than which none is both better and cheaper: {', '.join(plane.front)}"
        f"{f'; unknown: {names_of(unknown)}' if unknown else ''}"
    )


def _label(axes: Axes, plane: Plane) -> None:
    """Write names beside points, each where it covers no other; what has no place needs none."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    shown = {name: plane.points[name] for name in plane.shown}
    in_the_way = [*shown.values(), *plane.others, *_along(axes, plane.line)]
    taken = [_around(axes.transData.transform(point)) for point in in_the_way]
    for name, point in shown.items():
        if place := _free_place(axes, name, point, taken):
            taken.append(place)
        elif name in plane.named:
            axes.annotate(name, point, OFFSETS[0], textcoords="offset points", fontsize=8)


def _free_place(axes: Axes, name: str, point: Point, taken: Sequence[Any]) -> Any:
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


def _along(axes: Axes, line: Sequence[Point]) -> list[Point]:
    """Give points along the steps of a line, close enough that no name fits between them."""
    found = list[Point]()
    for (x, y), (next_x, next_y) in pairwise(line):
        for start, end in (((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))):
            ends = axes.transData.transform([start, end])
            way = np.linspace(ends[0], ends[1], STEPS)
            found += [tuple(each) for each in axes.transData.inverted().transform(way)]
    return found


def _around(place: Any, reach: float = 5) -> Any:
    x, y = place
    return Bbox([[x - reach, y - reach], [x + reach, y + reach]])
