"""What stands in the cells of the report's tables."""

from collections.abc import Mapping
from typing import Any

from moa_graph.evals.benchmarks.flask.score import FlaskScore
from moa_graph.evals.benchmarks.mt_bench.score import MTBenchScore
from moa_graph.evals.budget import Budget, Mean
from moa_graph.evals.report.results import Measurement, Quality, Section

UNKNOWN = "unknown"


def quality(value: Quality) -> str:
    """Say how good, with the interval if there is one."""
    places = 1 if value.high > 10 else 2  # noqa: PLR2004  # percent, or grades
    if value.low == value.high:
        return f"{value.value:.{places}f}"
    low, high = f"{value.low:.{places}f}", f"{value.high:.{places}f}"
    return f"{value.value:.{places}f} [{low}, {high}]"


def figures(measured: Measurement) -> dict[str, str]:
    """Give the benchmark's own figures, by column."""
    found = measured.scored.figures
    if isinstance(found, MTBenchScore):
        return {
            "average": _number(found.both),
            "first turn": _number(found.first_turn),
            "second turn": _number(found.second_turn),
        }
    if isinstance(found, FlaskScore):
        return {
            "scores": f"{found.scored:,}",
            "not applicable": f"{found.not_applicable:,}",
            "incomplete": f"{found.incomplete:,}",
        }
    won, controlled = found.win_rate, found.length_controlled
    return {
        "length-controlled %": f"{controlled.win_rate:.1f} ± {controlled.standard_error:.1f}"
        if controlled
        else "unavailable",
        "win rate %": f"{won.win_rate:.1f} ± {won.standard_error:.1f}",
        "discrete %": f"{won.discrete_win_rate:.1f}",
        "characters": f"{found.mean_length:,.0f}",
    }


def columns(section: Section) -> list[str]:
    """Name the columns of a benchmark's own figures."""
    return list(dict.fromkeys(name for each in section.named for name in figures(each)))


def groups(measured: Measurement) -> list[tuple[str, str, str]]:
    """Give the means of groups of instructions: what is grouped by, the group, the mean."""
    found, kinds = measured.scored.figures, dict[str, Mapping[str, float | None]]()
    if isinstance(found, MTBenchScore):
        kinds = {"category": found.categories}
    elif isinstance(found, FlaskScore):
        by_difficulty = dict(sorted(found.difficulties.items()))
        kinds = {
            "skill": {**found.skills},
            "domain": {**found.domains},
            "difficulty": {**by_difficulty},
        }
    return [
        (kind, name, _number(mean)) for kind, means in kinds.items() for name, mean in means.items()
    ]


def published(row: Mapping[str, Any] | None, column: str) -> str:
    """Give a figure of the paper, with its deviation."""
    if row is None or (value := row.get(column)) is None:
        return ""
    deviation = row.get({"lc_win_rate": "lc_deviation"}.get(column, "deviation"))
    shown = deviation if column in {"lc_win_rate", "win_rate", "average"} else None
    return f"{value:g}" if shown is None else f"{value:g} ± {shown:g}"


def title(column: str) -> str:
    """Name a column of the paper."""
    names = {"lc_win_rate": "length-controlled %", "win_rate": "win rate %"}
    return names.get(column, column.replace("_", " "))


def mean(value: Mean, budget: Budget, style: str = "{:,.0f}") -> str:
    """Give a mean, with of how many instructions it is, if that is not of all."""
    if value.value is None:
        return UNKNOWN
    part = "" if value.known == budget.instructions else f" (of {value.known})"
    return style.format(value.value) + part


def money(value: Mean, budget: Budget) -> str:
    """Give US dollars with three digits that mean something, however little it is."""
    if not value.value:
        return mean(value, budget, "${:,.0f}")
    return mean(value, budget, "${:.3g}" if value.value >= 1e-4 else "${:.1e}")  # noqa: PLR2004


def why(budget: Budget) -> str:
    """Say why something of a budget is not known."""
    parts = {
        "tokens not stated": budget.uncounted,
        "no price": budget.unpriced,
        "size unknown": budget.unsized,
    }
    told = [f"{what}: {', '.join(map(_short, models))}" for what, models in parts.items() if models]
    return "; ".join(told + ([f"{budget.failed} calls failed"] if budget.failed else []))


def assumed(section: Section) -> str:
    """Name the models whose size is an assumption."""
    return ", ".join(sorted({model for each in section.measured for model in each.budget.assumed}))


def _short(model: str) -> str:
    """Leave the folders out of what is replayed."""
    kind, _, path = model.partition(":")
    return f"{kind}:{path.rpartition('/')[2]}" if kind == "recorded" else model


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
