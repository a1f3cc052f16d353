"""Exceptions that also have the types of the failures that they report."""

import pickle
import traceback
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar, cast

from langgraph.errors import GraphBubbleUp

from moa_graph.connection_failures import error_chain
from moa_graph.errors import MoAError

_UNSHARED_TYPES = (GraphBubbleUp, StopIteration, StopAsyncIteration)  # types that control the run
_GENERIC_TYPES = {Exception, RuntimeError}  # LangGraph's default retry exempts RuntimeError

E = TypeVar("E", bound=MoAError)


def error_with_causes(causes: Sequence[Exception | None], error_class: type[E], *args: Any) -> E:
    """Create an error that `except` clauses for any shared type of its causes also catch.

    Args:
        causes: The causes; `None` for one that is known only by its text.
        error_class: The class of the error.
        *args: Arguments of the class.

    Returns:
        The error, with the types that all causes share and the first known one as `__cause__`.
    """
    types: tuple[type[Exception], ...] = ()
    if causes and all(causes):
        types = tuple(_shared_types(cast("Sequence[Exception]", causes), error_class, args))
    error = error_of_types(error_class, types, args)
    if cause := next(filter(None, causes), None):
        error.__cause__ = cause
        if type(cause) in types:  # such as `status_code` and `response`
            error.__dict__ |= {**vars(cause), **vars(error)}
    return error


def error_of_types(error_class: type[E], types: tuple[type[Exception], ...], args: Any) -> E:
    """Create an error of a class that also has other types."""
    return cast("E", _with_cause_types(error_class, types)(*args))  # type: ignore[arg-type]  # mypy takes a type variable for no hashable


def free_frames(error: Exception) -> Exception:
    """Clear the frames of a stored error, so that it holds no prompt, model or run."""
    for each in error_chain(error):
        traceback.clear_frames(each.__traceback__)
        each.__traceback__ = _without_own_frames(each.__traceback__)
    return error


def _without_own_frames(frames: TracebackType | None) -> TracebackType | None:
    """Skip the outermost frames of this package, which may still be running."""
    while frames and str(frames.tb_frame.f_globals.get("__name__")).startswith("moa_graph."):
        frames = frames.tb_next
    return frames


def reduce_error(error: MoAError, error_class: type[MoAError], *args: Any) -> tuple[Any, ...]:
    """Return the result of `__reduce__`, without types that another process cannot import."""
    return error_of_types, (error_class, tuple(filter(_is_importable, error.cause_types)), args)


@lru_cache(maxsize=256)
def _with_cause_types(error_class: type[Any], types: tuple[type[Exception], ...]) -> type[Any]:
    if not types:
        return error_class
    namespace = {
        "__module__": error_class.__module__,
        "__qualname__": error_class.__qualname__,
        "__doc__": error_class.__doc__,
        "cause_types": types,
    }
    try:
        return type(error_class.__name__, (error_class, *types), namespace)
    except TypeError:  # the types have incompatible layouts
        return error_class


def _shared_types(
    causes: Sequence[Exception], error_class: type[MoAError], args: Any
) -> Iterator[type[Exception]]:
    """Return the most specific types that all causes share and a class can inherit."""
    shared = [
        kind
        for kind in type(causes[0]).__mro__
        if all(isinstance(each, kind) for each in causes)
        and _can_be_shared(kind, error_class, args)
    ]
    for kind in shared:
        if not any(each is not kind and issubclass(each, kind) for each in shared):
            yield kind


def _can_be_shared(kind: type, error_class: type[MoAError], args: Any) -> bool:
    if not issubclass(kind, Exception) or issubclass(kind, (MoAError, *_UNSHARED_TYPES)):
        return False
    return kind not in _GENERIC_TYPES and _can_be_inherited(kind, error_class, args)


def _can_be_inherited(kind: type[Exception], error_class: type[MoAError], args: Any) -> bool:
    """Return whether an error class can inherit both types; `ExceptionGroup` cannot be added."""
    try:
        return isinstance(error_of_types(error_class, (kind,), args), kind)
    except Exception:  # noqa: BLE001  # whoever refuses does so in its own way
        return False


def _is_importable(kind: type) -> bool:
    try:
        pickle.dumps(kind)
    except Exception:  # noqa: BLE001  # whoever refuses does so in its own way
        return False
    return True
