"""Time that stands still until a test lets it pass."""

import asyncio
import threading
import time


class Clock:
    """A clock that stands still: what may take so long takes no time on a slow machine either.

    The event loops of the test's own thread go by it. Those of its servers do not, nor does a
    thread that waits: it looks at the clock again when the time that it waits for is over.
    """

    def __init__(self, monkeypatch, *modules):
        """Let event loops, and the `monotonic` of some modules, go by it."""
        self._now, self._began = 1000.0, None
        mine, usual = threading.current_thread(), asyncio.BaseEventLoop.time
        monkeypatch.setattr(
            asyncio.BaseEventLoop,
            "time",
            lambda loop: self() if threading.current_thread() is mine else usual(loop),
        )
        for module in modules:
            monkeypatch.setattr(module, "monotonic", self)

    def __call__(self):
        return self._now + (time.monotonic() - self._began if self._began else 0)

    def advance(self, seconds):
        """Let some time pass."""
        self._now += seconds

    def go(self):
        """Let time pass by itself from here on."""
        self._began = time.monotonic()
