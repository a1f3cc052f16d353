"""Calls of a LangGraph cache: bounded in time; a failure costs what it would have saved."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moa_graph.background_thread import run_in_thread
from moa_graph.sync_async import Step

CACHE_TIMEOUT_S = 2.0  # seconds that a run waits for a cache, each time; a deadline goes on

_log = logging.getLogger(__name__)


def cache_step(
    function: Callable[..., Any], async_function: Callable[..., Awaitable[Any]], item: Any
) -> Step:
    """Make the step that calls a cache with a time limit."""

    def call() -> Any:
        return run_in_thread(function, item).result(CACHE_TIMEOUT_S)

    async def acall() -> Any:
        async with asyncio.timeout(CACHE_TIMEOUT_S):
            return await async_function(item)

    return Step(call, acall)


@contextmanager
def log_cache_errors(name: str) -> Iterator[None]:
    """Go on after whatever a cache raises: an answer that was paid for is not lost.

    Args:
        name: What the log calls the cache.
    """
    try:
        yield
    except Exception:  # noqa: BLE001  # whatever it is
        _log.warning("the %s failed; the model is asked, or not kept", name, exc_info=True)
