"""Functions of users, sync or async, that decide about a run."""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.runnables.config import run_in_executor

from moa_graph.background_thread import run_in_thread
from moa_graph.sync_async import Step


def call_step(function: Callable[..., Any], *args: Any) -> Step:
    """Create the step that calls a user's function, sync or async."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object may be async
    ):
        return Step(partial(_run_coroutine, function), function, args)
    return Step(function, partial(run_in_executor, None, function), args)


def _run_coroutine(function: Callable[..., Any], *args: Any) -> Any:
    """Run an async function to completion in a thread without an event loop."""
    return run_in_thread(lambda: asyncio.run(function(*args))).result()


def to_plain(value: Any) -> Any:
    """Convert a boolean of NumPy, the result of comparisons of its means, to a Python `bool`."""
    is_numpy = type(value).__module__ == "numpy" and type(value).__name__ in {"bool", "bool_"}
    return bool(value) if is_numpy else value


def name_function(function: Callable[..., Any]) -> str:
    """Return the name of a function for a reason."""
    return str(getattr(function, "__name__", type(function).__name__))
