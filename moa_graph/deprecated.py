"""Deprecated names, accepted with a `DeprecationWarning` that names the new one.

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

OLD_NAMES = {"ASK_AGAIN": "RETRY"}
"""Deprecated exports of `moa_graph` and their present names."""

_INTERNAL_MODULES = ("moa_graph", "pydantic", "importlib")


def rename_options(options: Mapping[str, Any], location: str = "") -> dict[str, Any]:
    """Rename deprecated options of `create_moa`: `final` is now `aggregation`.

    Args:
        options: The options as the caller wrote them.
        location: The file of the options, for the warning.

    Raises:
        ValueError: If the old and the new name of an option are both given.
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
            _warn_caller(
                f"{prefix}`{name}`={value!r} is deprecated; write `aggregation`={new_value!r}"
            )
    return renamed


def rename_plan_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Rename deprecated options of a benchmark in a plan: `own_prompt` becomes `builtin_prompt`.

    Raises:
        ValueError: If both names are given.
    """
    renamed = dict(options)
    if "own_prompt" in renamed:
        if "builtin_prompt" in renamed:
            raise ValueError("own_prompt: the same as builtin_prompt; leave it out")
        renamed["builtin_prompt"] = renamed.pop("own_prompt")
        _warn_caller("`own_prompt` is deprecated; write `builtin_prompt`")
    return renamed


def accept_old_options(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that it also accepts deprecated options of `create_moa`."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **rename_options(kwargs))

    return call


def with_old_keys(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `RunSummary` that also has its deprecated keys."""
    old = {old: summary[new] for old, new in OLD_SUMMARY_KEYS.items() if new in summary}
    return {**summary, **old}


def rename_export(name: str) -> str:
    """Return the present name of a deprecated export of `moa_graph`.

    Raises:
        AttributeError: If the name was never exported.
    """
    if name not in OLD_NAMES:
        raise AttributeError(f"module 'moa_graph' has no attribute {name!r}")
    _warn_caller(f"`moa_graph.{name}` is deprecated; import `{OLD_NAMES[name]}`")
    return OLD_NAMES[name]


class OldOptionAttributes:
    """Deprecated option names as attributes."""

    @property
    def final(self) -> str:
        """Deprecated name of `aggregation`."""
        _warn_caller("`final` is deprecated; read `aggregation`")
        aggregation: str = getattr(self, "aggregation")  # noqa: B009  # a field of the subclass
        return {new: old for old, new in OLD_AGGREGATIONS.items()}.get(aggregation, aggregation)


def _warn_caller(message: str) -> None:
    """Warn with the line of the first caller outside the package."""
    frame = currentframe()
    while frame and _is_internal(frame.f_globals) and frame.f_back:
        frame = frame.f_back
    if frame is None:  # this interpreter has no stack frames
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return
    warnings.warn_explicit(
        f"{message}. The old spelling is accepted until 0.3",
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_internal(module: Mapping[str, Any]) -> bool:
    return str(module.get("__name__")).partition(".")[0] in _INTERNAL_MODULES
