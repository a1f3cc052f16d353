"""Start a few calls per pass of the event loop, so that other tasks get a turn.

An event loop runs all ready callbacks before it checks its timers and connections again. If
hundreds of calls become ready at once and each takes a millisecond, timers and connections wait
for all of them. Therefore only a few calls start in one pass of the loop.
"""

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

MAX_TURNS = 4
"""Number of calls that start in one pass of an event loop."""


class _Turns:
    """Waiting calls of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken, self._is_scheduled = 0, False

    async def wait(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._begin_pass)
        if self._taken < MAX_TURNS and not self._waiting:
            self._taken += 1
            return
        future = self._loop.create_future()
        self._waiting.append(future)
        await future

    def _begin_pass(self) -> None:
        """Wake the next calls; cancelled calls are skipped."""
        self._taken = 0
        while self._waiting and self._taken < MAX_TURNS:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._taken += 1
        self._is_scheduled = self._taken > 0
        if self._is_scheduled:
            self._loop.call_soon(self._begin_pass)


_turns: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns]" = WeakKeyDictionary()


async def wait_for_turn() -> None:
    """Wait until few enough calls continue in the same pass of the event loop."""
    loop = asyncio.get_running_loop()
    if (turns := _turns.get(loop)) is None:
        turns = _turns.setdefault(loop, _Turns(loop))
    await turns.wait()
