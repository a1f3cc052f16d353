"""Waiting for what happens elsewhere."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds: only a failure takes so long, and a busy machine is none


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something has happened in another thread or process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen in {seconds:g} s"
        time.sleep(0.01)


async def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something has happened, and let this event loop go on meanwhile.

    Its clock may stand still: a thread looks at another one.
    """
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError
        await asyncio.to_thread(time.sleep, 0.01)


def after(condition: Callable[[], object], looks: int = 3) -> Callable[[], bool]:
    """Make a condition that holds some looks later than another: late enough for any clock."""
    left = iter(range(looks))
    return lambda: bool(condition()) and next(left, None) is None


async def take_turns(count: int = 100) -> None:
    """Let everything that can go on without an event from outside go on."""
    for _ in range(count):
        await asyncio.sleep(0)
