"""The figure of `moa eval curve`: quality against cost, by threshold of early stops."""

from matplotlib.ticker import MaxNLocator

from moa_graph.evals.curve import NEVER, Curve, CurvePoint
from moa_graph.evals.report.style import (
    COLOURS,
    INK,
    SMALL,
    RenderedFigure,
    figure_style,
    format_dollars,
    new_figure,
    render_figure,
)
from moa_graph.evals.scoring import format_quality

_MAX_LABELS = 6


def draw_curve(curve: Curve) -> RenderedFigure:
    """Draw the curve; without known costs, against the number of layers."""
    costs = [point.cost for point in curve.points]
    is_priced = None not in costs and any(costs)
    xs = [(point.cost or 0.0) if is_priced else point.layers for point in curve.points]
    with figure_style():
        figure, axes = new_figure(3.9)
        for x, point in zip(xs, curve.points, strict=True):
            axes.plot([x, x], point.quality[1:], color=COLOURS[0], linewidth=0.9, alpha=0.5)
        axes.plot(xs, [point.quality.value for point in curve.points], "o-", color=COLOURS[0])
        step = max(1, len(xs) // _MAX_LABELS)
        for x, point in list(zip(xs, curve.points, strict=True))[::step]:
            axes.annotate(
                format_threshold(point),
                (x, point.quality.value),
                (5, 5),
                textcoords="offset points",
                fontsize=SMALL,
                color=INK,
            )
        axes.margins(0.12)
        axes.xaxis.set_major_locator(MaxNLocator(6))  # dollars have many digits
        if is_priced:
            axes.xaxis.set_major_formatter(format_dollars)
        axes.set_xlabel(
            "US dollars per instruction" if is_priced else "layers of proposers that run"
        )
        axes.set_ylabel(curve.metric)
        name = f"{curve.benchmark}-curve-{curve.system}"
        return render_figure(figure, name, _caption(curve), describe(curve), _list_values(curve))


def _list_values(curve: Curve) -> list[str]:
    return [
        f"from {format_threshold(point)}: {format_quality(point.quality)}, "
        + (f"{point.layers:.2f} layers" if point.cost is None else f"${point.cost:.3g}")
        for point in curve.points
    ]


def format_threshold(point: CurvePoint) -> str:
    """Format a threshold with all of its places: a rounded one could stop other runs."""
    if point.threshold >= NEVER:
        return "never"
    short = f"{point.threshold:.2f}"
    return short if float(short) == point.threshold else f"{point.threshold:g}"


def describe(curve: Curve) -> str:
    """Return the notes that must accompany the figures."""
    parts = [f"replayed from {curve.instructions:,} stored instructions"]
    if curve.unmatched:
        parts.append(f"{curve.unmatched:,} left out, as not all is stored of them")
    if curve.stand_in:
        parts.append(
            "the proposal that most agree with stands for what the aggregator would have written"
        )
    return "; ".join(parts)


def _caption(curve: Curve) -> str:
    return (
        f"{curve.benchmark}: {curve.metric}, of {curve.system} that stops at the first layer whose "
        "proposals agree as far as the threshold says; bars are 95 % intervals"
    )
