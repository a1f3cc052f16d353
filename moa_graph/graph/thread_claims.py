"""Which threads of this process are being run: two questions at once on one would lose the first.

LangGraph lets both begin where the thread ends, and only the one that is written last is found
afterwards. What runs in other processes cannot be seen here.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

from langgraph.checkpoint.base import BaseCheckpointSaver

from moa_graph.errors import MoAError

PATIENCE_S = 1.0
"""Seconds that a run gets to end: one that was stopped takes its time to let go."""
_POLL_INTERVAL_S = 0.01

_claimed: set[tuple[int, str]] = set()
_released = threading.Condition()


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
        self._is_held = False

    def acquire(self) -> Self:
        """Hold the thread; wait a moment for a run that is ending.

        Raises:
            ThreadInUseError: If another run holds it.
        """
        with _released:
            if not _released.wait_for(self._try_acquire, PATIENCE_S):
                raise ThreadInUseError(self._thread)
        return self

    async def aacquire(self) -> Self:
        """Do as `acquire` does, without holding up the event loop."""
        end = monotonic() + PATIENCE_S
        while not self._try_acquire():
            if monotonic() >= end:
                raise ThreadInUseError(self._thread)
            await asyncio.sleep(_POLL_INTERVAL_S)
        return self

    def release(self) -> None:
        """Let others run the thread."""
        with _released:
            if self._is_held:
                self._is_held = False
                _claimed.discard(self._key)
                _released.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def _try_acquire(self) -> bool:
        with _released:
            if self._key in _claimed:
                return False
            _claimed.add(self._key)
            self._is_held = True
            return True


class ClaimedStream(AsyncGenerator[Any, None]):
    """A stream of a run that holds its thread until it ends, is closed, or is dropped.

    A dropped async generator would be closed by the event loop, at some later time.
    """

    def __init__(
        self, stream: AsyncGenerator[Any, None], acquire: Callable[[], Awaitable[ThreadClaim]]
    ) -> None:
        self._stream, self._acquire = stream, acquire
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
        try:
            result = await step
        except BaseException:
            is_last = True
            raise
        finally:
            if is_last and self._claim:
                self._claim.release()
        return result


def _storage_of(saver: BaseCheckpointSaver[Any]) -> object:
    """Give what all copies of a checkpointer share: LangGraph makes some."""
    shared = (getattr(saver, name, None) for name in ("conn", "storage"))
    return next((each for each in shared if each is not None), saver)
