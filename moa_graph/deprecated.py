"""Old spellings that are still accepted, each with a `DeprecationWarning` that says the new one.

Delete this module in 0.3, with the lines that import it.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import currentframe
from typing import Any, ParamSpec, TypeVar

from moa_graph.stored_names import OLD_AGGREGATIONS, OLD_SUMMARY_KEYS, translate_options

P = ParamSpec("P")
T = TypeVar("T")

_INTERNAL_MODULES = ("moa_graph", "pydantic", "functools")


def rename_options(options: Mapping[str, Any], location: str = "") -> dict[str, Any]:
    """Rename options of `create_moa`: `final` is `aggregation`, and its "write" "synthesize".

    Args:
        options: The options, as the caller wrote them.
        location: The file that they come from, for the warning.

    Raises:
        ValueError: If an option is given by its old and by its new name.
    """
    prefix = f"{location}: " if location else ""
    old = {name: options[name] for name in ("final", "aggregation") if name in options}
    if len(old) > 1:
        both = " and ".join(f"`{name}`={value!r}" for name, value in old.items())
        raise ValueError(f"{prefix}{both}: the same option; expected `aggregation` alone")
    renamed = translate_options(options)
    for name, value in old.items():
        if renamed.get(name) != value:
            new_value = renamed["aggregation"]
            _warn(f"{prefix}`{name}`={value!r} is deprecated; write `aggregation`={new_value!r}")
    return renamed


def accept_old_options(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function accept the old names of options of `create_moa` too."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **rename_options(kwargs))

    return call


def with_old_keys(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Give a `RunSummary` with the keys that it had before beside the present ones."""
    old = {old: summary[new] for old, new in OLD_SUMMARY_KEYS.items() if new in summary}
    return {**summary, **old}


class OldOptionAttributes:
    """The old names of options, as attributes."""

    @property
    def final(self) -> str:
        """What `aggregation` was called."""
        _warn("`final` is deprecated; read `aggregation`")
        aggregation: str = getattr(self, "aggregation")  # noqa: B009  # a field of the subclass
        return {new: old for old, new in OLD_AGGREGATIONS.items()}.get(aggregation, aggregation)


def _warn(message: str) -> None:
    """Warn at the line outside the package that led here."""
    frame, depth = currentframe(), 1
    while frame and str(frame.f_globals.get("__name__")).startswith(_INTERNAL_MODULES):
        frame, depth = frame.f_back, depth + 1
    text = f"{message}. The old spelling is accepted until 0.3"
    warnings.warn(text, DeprecationWarning, stacklevel=depth)
