"""Keys that one caller holds at a time; others wait, in threads or on event loops."""

import asyncio
import threading
from concurrent.futures import Future
from functools import partial

from moa_graph.sync_async import Flow, Step


class ExclusiveKeys:
    """Keys, each held by one caller at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Future[None]] = {}

    def acquire(self, key: str) -> Flow[None]:
        """Hold a key, as soon as nobody else does."""
        while other := self._claim(key):
            yield Step(other.result, partial(asyncio.wrap_future, other))

    def release(self, key: str) -> None:
        """Let the next caller hold a key."""
        with self._lock:
            held = self._held.pop(key)
        held.set_result(None)

    def _claim(self, key: str) -> "Future[None] | None":
        """Hold a key, or give what ends when who holds it releases it."""
        with self._lock:
            if key in self._held:
                return self._held[key]
            future = self._held[key] = Future[None]()
            future.set_running_or_notify_cancel()  # who waits cannot cancel it
            return None
