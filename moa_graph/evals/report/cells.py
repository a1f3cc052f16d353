"""The contents of cells in the tables of the report."""

from collections.abc import Callable, Mapping
from math import floor, log10
from typing import Any

from moa_graph.evals.benchmarks.formatting import format_cost, format_number
from moa_graph.evals.report.measurement import SystemMeasurement
from moa_graph.evals.report.section import ReportSection
from moa_graph.evals.resource_use import PartialMean, ResourceUse
from moa_graph.graph.node_names import parse_node_name
from moa_graph.models.providers import replayed_file

UNKNOWN = "unknown"
_LEAST_PLAIN_DOLLARS = 1e-6  # smaller amounts have too many zeros


def benchmark_figures(measurement: SystemMeasurement) -> dict[str, str]:
    """Return the benchmark's own figures, by column."""
    score = measurement.score
    return score.protocol.report_cells(score.figures)


def quality_note(section: ReportSection) -> str:
    """Return the benchmark's addition to the caption of the table of quality."""
    return section.protocol.quality_note


def paper_has_analyses(section: ReportSection) -> bool:
    """Return whether the paper's analyses use the benchmark."""
    return section.protocol.paper_has_analyses


def figure_columns(section: ReportSection) -> list[str]:
    """Return the columns of a benchmark's own figures."""
    return list(dict.fromkeys(name for each in section.named for name in benchmark_figures(each)))


def group_means(measurement: SystemMeasurement) -> list[tuple[str, str, str]]:
    """Return the means of groups of instructions: kind of group, group, mean."""
    score = measurement.score
    return [
        (kind, name, format_number(mean, 2))
        for kind, means in score.protocol.group_means(score.figures).items()
        for name, mean in means.items()
    ]


def proposer_name(node: str) -> str:
    """Return the name of a proposer in the mixture."""
    name = parse_node_name(node)
    return name.agent if name else node


def format_percent(value: float | None) -> str:
    """Format a percentage; `-` if there is none."""
    return format_number(value)


def format_published(table: Mapping[str, Any], row: Mapping[str, Any] | None, column: str) -> str:
    """Format a figure of the paper with its deviation and its number of decimals."""
    if row is None or (value := row.get(column)) is None:
        return ""
    deviation = row.get({"lc_win_rate": "lc_deviation"}.get(column, "deviation"))
    shown = deviation if column in {"lc_win_rate", "win_rate", "average"} else None
    places = max(_count_decimals(each[column]) for each in table["rows"] if column in each)
    text = f"{value:.{places}f}"
    return text if shown is None else f"{text} ± {shown:.{places}f}"


def _count_decimals(value: float) -> int:
    """Return the decimals of a figure of the table; a whole number has none."""
    return len(str(value).partition(".")[2])


def paper_column_title(column: str) -> str:
    """Return the title of a column of the paper."""
    names = {"lc_win_rate": "length-controlled %", "win_rate": "win rate %"}
    return names.get(column, column.replace("_", " "))


def format_mean(
    value: PartialMean, use: ResourceUse, style: Callable[[float], str] = "{:,.0f}".format
) -> str:
    """Format a mean, with the number of instructions if it is not that of all."""
    if value.value is None:
        return UNKNOWN
    part = "" if value.known_runs == use.instructions else f" (of {value.known_runs})"
    return style(value.value) + part


def format_mean_cost(measurement: SystemMeasurement) -> str:
    """Format US dollars with three significant digits, and their variation between runs."""
    use, costs = measurement.resource_use, measurement.run_costs
    mean = format_mean(use.cost, use, format_cost)
    if costs.deviation is None:
        return mean
    return f"{mean} ± {_format_deviation(costs.deviation)}"


def format_total_cost(measurement: SystemMeasurement) -> str:
    """Format the cost of all answers, summed over runs."""
    use = measurement.resource_use
    if use.cost.value is None:
        return UNKNOWN
    total = use.cost.value * use.cost.known_runs
    at_least = "" if use.cost.known_runs == use.instructions and not use.failed else "at least "
    return at_least + format_cost(total)


def _format_deviation(dollars: float) -> str:
    if dollars < _LEAST_PLAIN_DOLLARS:
        return f"{dollars:.0e}" if dollars else "0"
    return f"{dollars:.{max(0, 1 - floor(log10(dollars)))}f}"


def explain_unknowns(use: ResourceUse) -> str:
    """Describe why parts of the resource use are unknown."""
    parts = {
        "tokens not stated": use.uncounted,
        "no price": use.unpriced,
        "size unknown": use.unsized,
    }
    reasons = [
        f"{what}: {', '.join(map(_short_model_name, models))}"
        for what, models in parts.items()
        if models
    ]
    return "; ".join(reasons + ([f"{use.failed} calls failed"] if use.failed else []))


def assumed_sizes(section: ReportSection) -> str:
    """Return the models of assumed size."""
    return ", ".join(
        sorted({model for each in section.measurements for model in each.resource_use.assumed})
    )


def _short_model_name(model: str) -> str:
    """Remove the folders from the name of a replayed file."""
    provider, _, path = model.partition(":")
    return f"{provider}:{path.rpartition('/')[2]}" if replayed_file(model) else model
