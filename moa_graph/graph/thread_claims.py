"""Claims on threads in this process: a second parallel run raises `ThreadInUseError`.

LangGraph lets both runs continue the same checkpoint, and only the one that is written last can be
found afterwards. Runs in other processes are not detected.
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
"""Seconds to wait for another run: a stopped run needs some time to release its thread."""
_POLL_INTERVAL_S = 0.01
_SETTLE_S = 2.0  # seconds for the last writes of a run


@dataclass(eq=False)
class _Holder:
    """The run that holds a thread."""

    loop: asyncio.AbstractEventLoop | None = None
    """Event loop of the run; `None` for a sync run."""

    def is_gone(self) -> bool:
        """Return whether the run can no longer continue."""
        return self.loop is not None and self.loop.is_closed()


_claimed: dict[tuple[int, str], _Holder] = {}
_released = threading.Condition()


def _forget_runs_of_parent() -> None:
    """Reset the claims in a forked process: the runs and the lock's holder are in its parent."""
    global _released  # noqa: PLW0603  # a lock that is held cannot be had back
    _released = threading.Condition()
    _claimed.clear()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forget_runs_of_parent)


class ThreadInUseError(MoAError):
    """Another run of this process uses the thread."""

    def __init__(self, thread: str) -> None:
        super().__init__(
            f"thread_id={thread!r}: another run of this process uses this thread, and one of two "
            "parallel runs would be lost. Wait until it has ended (a stream ends when it is read "
            "to its end or closed), or use another thread"
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
        """Claim the thread; wait a moment for a run that is ending.

        Raises:
            ThreadInUseError: If another run holds it.
        """
        with _released:
            is_held = _released.wait_for(self._try_acquire, PATIENCE_S)
        if not is_held:
            self._acquire_of_garbage()
        return self

    async def aacquire(self) -> Self:
        """Claim the thread without blocking the event loop; see `acquire`."""
        end, loop = monotonic() + PATIENCE_S, asyncio.get_running_loop()
        while not self._try_acquire(loop):
            if monotonic() >= end:
                self._acquire_of_garbage(loop)
                break
            await asyncio.sleep(_POLL_INTERVAL_S)
        return self

    def release(self) -> None:
        """Release the thread to other runs."""
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
        """Claim a thread whose stream was dropped but still exists in a reference cycle."""
        gc.collect()
        if not self._try_acquire(loop):
            raise ThreadInUseError(self._thread)


class ClaimedStream(AsyncGenerator[Any, None]):
    """A stream of a run that holds its thread until it ends, is closed, or is dropped.

    The event loop would close a dropped async generator at some later time.

    LangGraph does not wait for the last writes of a stopped run: the last write of a cancelled call
    starts after the run has ended. It would conflict with code that then closes the database or
    runs the thread again.
    """

    def __init__(
        self,
        stream: AsyncGenerator[Any, None],
        acquire: Callable[[], Awaitable[ThreadClaim]],
        settle: Callable[[], Awaitable[object]],
    ) -> None:
        """Create a stream.

        Args:
            stream: The run.
            acquire: Claims its thread.
            settle: Waits for pending writes.
        """
        self._stream, self._acquire, self._settle = stream, acquire, settle
        self._claim: ThreadClaim | None = None

    async def asend(self, value: Any) -> Any:
        """Return the next value."""
        if self._claim is None:
            self._claim = await self._acquire()
        return await self._release_at_end(self._stream.asend(value))

    async def athrow(self, typ: Any, val: Any = None, _: TracebackType | None = None, /) -> Any:
        """Raise an error in the run."""
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
        with suppress(Exception):  # the error that ended the run is reported
            async with asyncio.timeout(_SETTLE_S):
                await self._settle()


def _storage_of(saver: BaseCheckpointSaver[Any]) -> object:
    """Return the object that all copies of a checkpointer share: LangGraph copies it."""
    shared = (getattr(saver, name, None) for name in ("conn", "storage"))
    return next((each for each in shared if each is not None), saver)
