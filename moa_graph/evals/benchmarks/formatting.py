"""Formatting of figures of benchmarks."""

from math import floor, log10

_LEAST_PLAIN_DOLLARS = 1e-6  # smaller amounts have too many zeros
_LEAST_WHOLE_DOLLARS = 100


def format_number(value: float | None, digits: int = 1) -> str:
    """Format a figure; `-` if there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"  # noqa: PLR0124


def format_with_error(value: float, error: float) -> str:
    """Format a figure with its standard error, if known."""
    known_error = "" if error != error else f" ± {format_number(error)}"  # noqa: PLR0124
    return f"{format_number(value)}{known_error}"


def format_interval(value: float, low: float | None, high: float | None, places: int) -> str:
    """Format a figure with its interval, if there is one."""
    if low is None or high is None or low == high:
        return f"{value:.{places}f}"
    return f"{value:.{places}f} [{low:.{places}f}, {high:.{places}f}]"


def format_cost(dollars: float) -> str:
    """Format US dollars with three significant digits, or without cents."""
    if not dollars or dollars >= _LEAST_WHOLE_DOLLARS:
        return f"${dollars:,.0f}"
    if dollars < _LEAST_PLAIN_DOLLARS:
        return f"${dollars:.1e}"
    return "$" + f"{dollars:.{2 - floor(log10(dollars))}f}".rstrip("0").rstrip(".")
