"""Calls of a LangGraph cache, bounded in time; failures are treated as misses."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moa_graph.background_thread import run_in_thread
from moa_graph.sync_async import Step

CACHE_TIMEOUT_S = 2.0  # seconds per cache call; deadlines include them

_log = logging.getLogger(__name__)


def cache_step(
    function: Callable[..., Any], async_function: Callable[..., Awaitable[Any]], item: Any
) -> Step:
    """Create the step that calls a cache with a time limit."""

    def call() -> Any:
        return run_in_thread(function, item).result(CACHE_TIMEOUT_S)

    async def acall() -> Any:
        async with asyncio.timeout(CACHE_TIMEOUT_S):
            return await async_function(item)

    return Step(call, acall)


@contextmanager
def log_cache_errors(name: str) -> Iterator[None]:
    """Log and ignore any error of a cache, so that a paid answer is not lost.

    Args:
        name: Name of the cache in the log.
    """
    try:
        yield
    except Exception:  # noqa: BLE001  # whatever it is
        _log.warning("the %s failed; the run continues without it", name, exc_info=True)
