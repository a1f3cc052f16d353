"""A clock that goes back under LangGraph's checkpoints, as in a process that starts on a machine
whose clock was wrong."""

import time
from types import SimpleNamespace

from langgraph.checkpoint.base import id as checkpoint_ids

DAY = 24 * 3600


def turn_clock(monkeypatch, seconds):
    """Let checkpoints be named by another time from now on, as a new process names them."""
    shifted = SimpleNamespace(time_ns=lambda: time.time_ns() + int(seconds * 1e9))
    monkeypatch.setattr(checkpoint_ids, "time", shifted)
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
