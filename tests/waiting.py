"""Waiting for what happens elsewhere."""

import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds: a busy machine is no finding


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something has happened in another thread or process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
