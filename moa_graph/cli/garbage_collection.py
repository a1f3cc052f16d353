"""Garbage collection in a process with many runs."""

import gc

FULL_PASS_INTERVAL = 100
"""Number of younger collections until a full pass; Python's default is 10."""


def make_full_passes_rare() -> None:
    """Make full passes of the garbage collector short and rare, once everything is imported.

    A full pass stops all runs: it takes 0.2 s for imported modules alone, and 0.1 s for 64 parallel
    runs. It rarely finds anything, because a run that succeeds leaves no reference cycles.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_PASS_INTERVAL)
