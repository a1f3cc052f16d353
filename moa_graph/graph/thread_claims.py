"""Which threads of this process are being run: two questions at once on one would lose the first.

LangGraph lets both begin where the thread ends, and only the one that is written last is found
afterwards. What runs in other processes cannot be seen here.
"""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, Self

from langgraph.checkpoint.base import BaseCheckpointSaver

from moa_graph.errors import MoAError

PATIENCE_S = 1.0
"""Seconds that a run gets to end: one that was stopped takes its time to let go."""
_POLL_INTERVAL_S = 0.01
_SETTLE_S = 2.0  # seconds that the last writes of a run get


@dataclass(eq=False)
class _Holder:
    """Who holds a thread."""

    loop: asyncio.AbstractEventLoop | None = None
    """The event loop on which it runs; none for a sync run."""

    def is_gone(self) -> bool:
        """Tell whether it can go on no more."""
        return self.loop is not None and self.loop.is_closed()


_claimed: dict[tuple[int, str], _Holder] = {}
_released = threading.Condition()


def _forget_runs_of_parent() -> None:
    """Start anew in a forked process: the runs go on in its parent, as may who held the lock."""
    global _released  # noqa: PLW0603  # a lock that is held cannot be had back
    _released = threading.Condition()
    _claimed.clear()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forget_runs_of_parent)


class ThreadInUseError(MoAError):
    """A thread is being run by another call in this process."""

    def __init__(self, thread: str) -> None:
        super().__init__(
            f"thread_id={thread!r}: another run of this thread goes on in this process; of two at "
            "once, the first would be lost. Wait until it has ended (a stream ends when it is "
            "read to its end or closed), or ask on another thread"
        )
        self.thread = thread

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.thread,)


class ThreadClaim:
    """A thread of a checkpointer, held for one run at a time until it is released or dropped."""

    def __init__(self, saver: BaseCheckpointSaver[Any], thread: str) -> None:
        self._thread, self._storage = thread, _storage_of(saver)
        self._key = (id(self._storage), thread)
        self._holder: _Holder | None = None

    @property
    def is_held(self) -> bool:
        """Whether the thread is held."""
        return self._holder is not None

    def acquire(self) -> Self:
        """Hold the thread; wait a moment for a run that is ending.

        Raises:
            ThreadInUseError: If another run holds it.
        """
        with _released:
            is_held = _released.wait_for(self._try_acquire, PATIENCE_S)
        if not is_held:
            self._acquire_of_garbage()
        return self

    async def aacquire(self) -> Self:
        """Do as `acquire` does, without holding up the event loop."""
        end, loop = monotonic() + PATIENCE_S, asyncio.get_running_loop()
        while not self._try_acquire(loop):
            if monotonic() >= end:
                self._acquire_of_garbage(loop)
                break
            await asyncio.sleep(_POLL_INTERVAL_S)
        return self

    def release(self) -> None:
        """Let others run the thread."""
        with _released:
            if self._holder and _claimed.get(self._key) is self._holder:
                del _claimed[self._key]
                _released.notify_all()
            self._holder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def _try_acquire(self, loop: asyncio.AbstractEventLoop | None = None) -> bool:
        with _released:
            other = _claimed.get(self._key)
            if other and not other.is_gone():
                return False
            self._holder = _claimed[self._key] = _Holder(loop)
            return True

    def _acquire_of_garbage(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Hold a thread whose stream was dropped, but is part of a cycle of references."""
        gc.collect()
        if not self._try_acquire(loop):
            raise ThreadInUseError(self._thread)


class ClaimedStream(AsyncGenerator[Any, None]):
    """A stream of a run that holds its thread until it ends, is closed, or is dropped.

    A dropped async generator would be closed by the event loop, at some later time.

    LangGraph does not wait for the last writes of a run that is stopped: that of a cancelled call
    begins when the run has already ended. Who then closes the database, or runs the thread again,
    would be in its way.
    """

    def __init__(
        self,
        stream: AsyncGenerator[Any, None],
        acquire: Callable[[], Awaitable[ThreadClaim]],
        settle: Callable[[], Awaitable[object]],
    ) -> None:
        """Make one.

        Args:
            stream: The run.
            acquire: Holds its thread.
            settle: Waits for what is still being written.
        """
        self._stream, self._acquire, self._settle = stream, acquire, settle
        self._claim: ThreadClaim | None = None

    async def asend(self, value: Any) -> Any:
        """Give what comes next."""
        if self._claim is None:
            self._claim = await self._acquire()
        return await self._release_at_end(self._stream.asend(value))

    async def athrow(self, typ: Any, val: Any = None, _: TracebackType | None = None, /) -> Any:
        """Raise inside of the run."""
        error = typ if val is None else val
        return await self._release_at_end(self._stream.athrow(error))

    async def aclose(self) -> None:
        """End the run."""
        await self._release_at_end(self._stream.aclose(), is_last=True)

    async def _release_at_end(self, step: Awaitable[Any], *, is_last: bool = False) -> Any:
        is_stopped = is_last
        try:
            return await step
        except BaseException as error:
            is_last, is_stopped = True, not isinstance(error, StopAsyncIteration)
            raise
        finally:
            if is_last and self._claim and self._claim.is_held:
                try:
                    if is_stopped:
                        await self._wait_for_writes()
                finally:
                    self._claim.release()

    async def _wait_for_writes(self) -> None:
        with suppress(Exception):  # what ended the run is what is told
            async with asyncio.timeout(_SETTLE_S):
                await self._settle()


def _storage_of(saver: BaseCheckpointSaver[Any]) -> object:
    """Give what all copies of a checkpointer share: LangGraph makes some."""
    shared = (getattr(saver, name, None) for name in ("conn", "storage"))
    return next((each for each in shared if each is not None), saver)
