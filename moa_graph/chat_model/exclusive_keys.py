"""Locks by key for threads and event loops."""

import asyncio
import threading
from concurrent.futures import Future
from functools import partial

from moa_graph.sync_async import Flow, Step


class ExclusiveKeys:
    """Locks by key: one caller holds a key, the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Future[None]] = {}

    def acquire(self, key: str) -> Flow[None]:
        """Wait for a key and hold it."""
        while other := self._claim(key):
            yield Step(other.result, partial(asyncio.wrap_future, other))

    def release(self, key: str) -> None:
        """Release a key to the next caller."""
        with self._lock:
            lock = self._held.pop(key)
        lock.set_result(None)

    def _claim(self, key: str) -> "Future[None] | None":
        """Hold a key, or return a future that ends when its holder releases it."""
        with self._lock:
            if key in self._held:
                return self._held[key]
            future = self._held[key] = Future[None]()
            future.set_running_or_notify_cancel()  # a waiting caller cannot cancel it
            return None
