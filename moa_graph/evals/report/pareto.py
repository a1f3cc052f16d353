"""The plots of quality against what it takes, with the Pareto front."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from moa_graph.evals.report.results import ReportSection, list_names
from moa_graph.evals.report.style import (
    COLOURS,
    INK,
    MARKERS,
    SOFT,
    RenderedFigure,
    new_figure,
    render_figure,
)
from moa_graph.evals.resource_use import pareto_front
from moa_graph.evals.scoring import is_clearly_better

POINTS_PER_LINE = 12  # points that stand for a line
LOG_SCALE_RATIO = 10  # times, from which on an axis is logarithmic
LABEL_OFFSETS = [
    (6, 5),
    (6, -9),
    (-6, 5),
    (-6, -9),
    (6, 14),
    (6, -18),
    (-6, 14),
    (-6, -18),
    (0, 20),
]

XY = tuple[float, float]


@dataclass(frozen=True)
class ParetoPlot:
    """What a plot shows."""

    points: Mapping[str, XY]
    """What each system takes, and its quality."""
    intervals: Mapping[str, tuple[float, float]]
    """Of the quality of each system."""
    front: Sequence[str]
    in_noise: Container[str]
    """Systems off the front than which none that takes no more is better beyond the noise."""
    named: Container[str]
    """Systems of the plan; the others are variants of them."""

    @property
    def front_points(self) -> list[XY]:
        """The points of the front."""
        return [self.points[name] for name in self.front]

    @property
    def labelled_names(self) -> list[str]:
        """Who has a name in the plot, those first who need it."""
        names = (name for name in self.points if name in self.named or name in self.front)
        return sorted(names, key=lambda name: name not in self.named)

    @property
    def unlabelled_points(self) -> list[XY]:
        """The points of those who have none."""
        shown = set(self.labelled_names)
        return [point for name, point in self.points.items() if name not in shown]


def draw_pareto(section: ReportSection, key: str, amount: str) -> RenderedFigure | None:
    """Draw quality against an amount of the budget.

    Args:
        section: The benchmark.
        key: The amount: `cost` or `teraflops`.
        amount: What it is counted in.

    Returns:
        The figure; `None` where there is nothing to weigh.
    """
    amounts = {m.system: getattr(m.resource_use, key).value for m in section.measurements}
    points = {
        each.system: (x, each.mean_quality.value)
        for each in section.measurements
        if (x := amounts[each.system]) is not None
    }
    if len(points) < 2 or not any(x for x, _ in points.values()):  # noqa: PLR2004
        return None
    plot = _plan_plot(section, points)
    figure, axes = new_figure(3.9)
    _draw_points(axes, plot)
    _set_x_scale(axes, [x for x, _ in points.values()])
    written = "" if key == "cost" else ", of the tokens written"
    axes.set_xlabel(f"{amount} per {section.unit}{written}")
    axes.set_ylabel(section.metric)
    _label_points(axes, plot)
    unknown = [system for system in amounts if system not in points]
    what = "cost" if key == "cost" else "operations"
    caption = _caption_text(section, plot, amount, unknown)
    return render_figure(figure, f"{section.benchmark}-pareto-{what}", caption, section.footnote)


def _plan_plot(section: ReportSection, points: Mapping[str, XY]) -> ParetoPlot:
    front = pareto_front(points)
    return ParetoPlot(
        points,
        {m.system: (m.mean_quality.low, m.mean_quality.high) for m in section.measurements},
        front,
        set(_find_in_noise(section, points)) - set(front),
        {each.system for each in section.named},
    )


def _find_in_noise(section: ReportSection, points: Mapping[str, XY]) -> Iterator[str]:
    """Find the systems that no other makes pointless: cheaper or as cheap, and clearly better."""
    known = [each for each in section.measurements if each.system in points]
    for each in known:
        rivals = (other for other in known if points[other.system][0] <= points[each.system][0])
        if not any(
            is_clearly_better(rival.runs, each.runs, is_headline=section.controlled)
            for rival in rivals
        ):
            yield each.system


def _draw_points(axes: Axes, plot: ParetoPlot) -> None:
    for name in plot.labelled_names:
        colour = COLOURS[0 if name in plot.front else 1]
        axes.plot([plot.points[name][0]] * 2, plot.intervals[name], color=colour, linewidth=0.9)
    if plot.unlabelled_points:
        axes.plot(
            *zip(*plot.unlabelled_points, strict=True), "o", color=SOFT, markersize=3.5, alpha=0.6
        )
    for name in plot.labelled_names:
        style_index = 0 if name in plot.front else 1
        face = "white" if name in plot.in_noise else COLOURS[style_index]
        axes.plot(
            *plot.points[name],
            MARKERS[style_index],
            color=COLOURS[style_index],
            markerfacecolor=face,
            markersize=6,
        )
    axes.step(*zip(*plot.front_points, strict=True), where="post", color=COLOURS[0], linewidth=1.2)


def _set_x_scale(axes: Axes, values: Sequence[float]) -> None:
    if min(values) and max(values) > LOG_SCALE_RATIO * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.12)


def _caption_text(
    section: ReportSection, plot: ParetoPlot, amount: str, unknown: Sequence[str]
) -> str:
    return (
        f"{section.benchmark}: {section.metric}, against {amount} per {section.unit}; "
        f"{'variants in grey; ' if plot.unlabelled_points else ''}the line joins the "
        f"systems than which none is both better and cheaper: {', '.join(plot.front)}; bars are "
        "95 % intervals; hollow points are off the line by no more than the noise"
        f"{'; of repeated systems, the mean of all runs' if section.repeated else ''}"
        f"{f'; unknown: {list_names(unknown)}' if unknown else ''}"
    )


def _label_points(axes: Axes, plot: ParetoPlot) -> None:
    """Write names beside points, each where it covers no other; what has no place needs none."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    labelled = {name: plot.points[name] for name in plot.labelled_names}
    obstacles = [
        *labelled.values(),
        *plot.unlabelled_points,
        *_sample_line(axes, plot.front_points),
    ]
    occupied = [_box_around(axes.transData.transform(point)) for point in obstacles]
    occupied += [
        _box_around(axes.transData.transform(point), 1) for point in _sample_intervals(plot)
    ]
    for name, point in labelled.items():
        if box := _write_label(axes, name, point, occupied):
            occupied.append(box)
        elif name in plot.named:
            axes.annotate(name, point, LABEL_OFFSETS[0], textcoords="offset points", fontsize=8)


def _write_label(axes: Axes, name: str, point: XY, occupied: Sequence[Any]) -> Any:
    """Write a name where it covers nothing; give its box, or `None` if there is no such place."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = axes.get_window_extent(renderer)
    for dx, dy in LABEL_OFFSETS:
        side = "left" if dx > 0 else "right" if dx < 0 else "center"
        text = axes.annotate(
            name, point, (dx, dy), textcoords="offset points", fontsize=8, ha=side, color=INK
        )
        box = text.get_window_extent(renderer)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
        if inside and not any(box.overlaps(other) for other in occupied):
            return box
        text.remove()
    return None


def _sample_line(axes: Axes, line: Sequence[XY]) -> list[XY]:
    """Give points along the steps of a line, close enough that no name fits between them."""
    points = list[XY]()
    for (x, y), (next_x, next_y) in pairwise(line):
        for start, end in (((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))):
            ends = axes.transData.transform([start, end])
            samples = np.linspace(ends[0], ends[1], POINTS_PER_LINE)
            points += [tuple(each) for each in axes.transData.inverted().transform(samples)]
    return points


def _sample_intervals(plot: ParetoPlot) -> Iterator[XY]:
    """Give points along the intervals of the systems that have names."""
    for name in plot.labelled_names:
        x, _ = plot.points[name]
        yield from ((x, float(y)) for y in np.linspace(*plot.intervals[name], 2 * POINTS_PER_LINE))


def _box_around(center: Any, half_width: float = 5) -> Any:
    x, y = center
    return Bbox([[x - half_width, y - half_width], [x + half_width, y + half_width]])
