"""Plots of quality against cost and other resources, with the Pareto front."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from moa_graph.evals.report.section import ReportSection, list_names
from moa_graph.evals.report.style import (
    COLOURS,
    INK,
    MARKERS,
    SMALL,
    SOFT,
    RenderedFigure,
    break_name,
    format_dollars,
    new_figure,
    render_figure,
)
from moa_graph.evals.resource_use import pareto_front
from moa_graph.evals.scoring import format_quality, is_clearly_better

POINTS_PER_LINE = 12  # sample points of a line, for the placement of labels
LOG_SCALE_RATIO = 10  # ratio above which an axis is logarithmic
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
    (14, 30),
    (-14, 30),
    (14, -34),
    (-14, -34),
]
LEADER_DISTANCE = 10  # points, from which on a thin line leads from a name to its point
LEADER = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}

XY = tuple[float, float]


@dataclass(frozen=True)
class ParetoPlot:
    """The data of a plot."""

    points: Mapping[str, XY]
    """Amount and quality of each system."""
    intervals: Mapping[str, tuple[float, float]]
    """Interval of the quality of each system."""
    front: Sequence[str]
    in_noise: Container[str]
    """Systems off the front that no system of at most their cost beats beyond the noise."""
    named: Container[str]
    """Systems of the plan; the others are variants."""

    @property
    def front_points(self) -> list[XY]:
        """Points of the front."""
        return [self.points[name] for name in self.front]

    @property
    def labelled_names(self) -> list[str]:
        """Names to label, most important first."""
        names = (name for name in self.points if name in self.named or name in self.front)
        return sorted(names, key=lambda name: name not in self.named)

    @property
    def unlabelled_points(self) -> list[XY]:
        """Points without a label."""
        shown = set(self.labelled_names)
        return [point for name, point in self.points.items() if name not in shown]


def draw_pareto(section: ReportSection, key: str, amount: str) -> RenderedFigure | None:
    """Draw quality against an amount.

    Args:
        section: The benchmark.
        key: The amount: `cost` or `teraflops`.
        amount: Unit of the amount.

    Returns:
        The figure; `None` if there is nothing to compare.
    """
    amounts = {m.system: getattr(m.resource_use, key).value for m in section.measurements}
    points = {
        each.system: (x, each.mean_quality.value)
        for each in section.measurements
        if (x := amounts[each.system]) is not None
    }
    if len(points) < 2 or not any(x for x, _ in points.values()):
        return None
    plot = _plan_plot(section, points)
    figure, axes = new_figure(3.9)
    _draw_points(axes, plot)
    _set_x_scale(axes, [x for x, _ in points.values()])
    suffix = "" if key == "cost" else ", of the tokens written"
    axes.set_xlabel(f"{amount} per {section.unit}{suffix}")
    axes.set_ylabel(section.metric)
    _label_points(axes, plot)
    unknown = [system for system in amounts if system not in points]
    what = "cost" if key == "cost" else "operations"
    caption = _caption_text(section, plot, amount, unknown)
    values = [
        f"{each.system}: {format_quality(each.mean_quality)} at {points[each.system][0]:.3g}"
        for each in section.measurements
        if each.system in points
    ]
    name = f"{section.benchmark}-pareto-{what}"
    return render_figure(figure, name, caption, section.footnote, values)


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
    """Find the systems that no other system of at most their cost clearly beats."""
    plotted = [each for each in section.measurements if each.system in points]
    for each in plotted:
        rivals = (other for other in plotted if points[other.system][0] <= points[each.system][0])
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
        axes.xaxis.set_major_formatter(format_dollars)
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.margins(0.12)


def _caption_text(
    section: ReportSection, plot: ParetoPlot, amount: str, unknown: Sequence[str]
) -> str:
    return (
        f"{section.benchmark}: {section.metric}, against {amount} per {section.unit}; "
        f"{'variants in grey; ' if plot.unlabelled_points else ''}the line joins the "
        f"Pareto front (no other is both better and cheaper): {', '.join(plot.front)}; bars are "
        "95 % intervals; hollow points are off the line by no more than the noise"
        f"{'; of repeated systems, the mean of all runs' if section.repeated else ''}"
        f"{f'; unknown: {list_names(unknown)}' if unknown else ''}"
    )


def _label_points(axes: Axes, plot: ParetoPlot) -> None:
    """Label points without overlaps; a label without a free position is left out."""
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
            axes.annotate(
                break_name(name),
                point,
                LABEL_OFFSETS[0],
                textcoords="offset points",
                fontsize=SMALL,
            )


def _write_label(axes: Axes, name: str, point: XY, occupied: Sequence[Any]) -> Any:
    """Draw a label at a free position, and return its box; `None` if there is none."""
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = axes.get_window_extent(renderer)
    for dx, dy in LABEL_OFFSETS:
        side = "left" if dx > 0 else "right" if dx < 0 else "center"
        text = axes.annotate(
            break_name(name),
            point,
            (dx, dy),
            textcoords="offset points",
            fontsize=SMALL,
            ha=side,
            color=INK,
            arrowprops=LEADER if abs(dy) > LEADER_DISTANCE else None,
        )
        text.update_positions(renderer)
        box = Text.get_window_extent(text, renderer)  # without its leader
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
        if inside and not any(box.overlaps(other) for other in occupied):
            return box
        text.remove()
    return None


def _sample_line(axes: Axes, line: Sequence[XY]) -> list[XY]:
    """Return points along the steps of a line, dense enough that no label fits between them."""
    points = list[XY]()
    for (x, y), (next_x, next_y) in pairwise(line):
        for start, end in (((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))):
            ends = axes.transData.transform([start, end])
            samples = np.linspace(ends[0], ends[1], POINTS_PER_LINE)
            points += [tuple(each) for each in axes.transData.inverted().transform(samples)]
    return points


def _sample_intervals(plot: ParetoPlot) -> Iterator[XY]:
    """Return points along the intervals of labelled systems."""
    for name in plot.labelled_names:
        x, _ = plot.points[name]
        yield from ((x, float(y)) for y in np.linspace(*plot.intervals[name], 2 * POINTS_PER_LINE))


def _box_around(center: Any, half_width: float = 5) -> Any:
    x, y = center
    return Bbox([[x - half_width, y - half_width], [x + half_width, y + half_width]])
