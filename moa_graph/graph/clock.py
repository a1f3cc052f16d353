"""A clock that is behind a thread: what is written by it would not be found.

LangGraph names checkpoints by the time, and takes the one with the latest name for the newest.
"""

from datetime import UTC, datetime

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.base.id import UUID, uuid6

from moa_graph.errors import MoAError

MAX_WAIT_S = 2.0
"""Seconds that are waited for a clock: those of several machines differ by as much."""
_TICKS_PER_SECOND = 10**7  # of a UUID


class ClockError(MoAError):
    """The newest checkpoint of a thread is from the future: what is written now would be lost."""


def seconds_to_wait(newest: CheckpointTuple | None) -> float:
    """Give the seconds until what is written on a thread is found.

    Args:
        newest: The newest checkpoint of the thread.

    Raises:
        ClockError: If that is too long.
    """
    if newest is None:
        return 0.0
    configurable = newest.config["configurable"]
    ahead = _seconds_ahead(str(configurable["checkpoint_id"]))
    if ahead > MAX_WAIT_S:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        raise ClockError(
            f"thread_id={configurable['thread_id']!r}: its newest checkpoint is {ahead:,.0f} s in "
            f"the future (it is {now} by this machine's clock). LangGraph finds the newest "
            "checkpoint by its time, and would not find what is written now: set the clock, wait, "
            "or ask on another thread"
        )
    return max(0.0, ahead)


def _seconds_ahead(checkpoint_id: str) -> float:
    """Tell by how much a checkpoint is newer than one that is written now."""
    try:
        written, now = UUID(checkpoint_id), uuid6()
    except ValueError:  # another program's own names
        return 0.0
    is_by_time = written.version == now.version
    return (written.time - now.time) / _TICKS_PER_SECOND if is_by_time else 0.0
