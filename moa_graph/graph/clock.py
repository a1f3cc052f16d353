"""Detect a clock that is behind the newest checkpoint of a thread.

The ids of LangGraph's checkpoints are ordered by time, and the highest id is the newest checkpoint.
"""

from datetime import UTC, datetime

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.base.id import UUID, uuid6

from moa_graph.errors import MoAError

MAX_WAIT_S = 2.0
"""Longest wait for the clock, in seconds: the clocks of machines can differ by as much."""
_TICKS_PER_SECOND = 10**7  # in a UUID


class ClockError(MoAError):
    """The newest checkpoint of a thread is in the future, so a new one would not be found."""


def seconds_to_wait(newest: CheckpointTuple | None) -> float:
    """Return the seconds until a new checkpoint of a thread is the newest one.

    Args:
        newest: The newest checkpoint of the thread.

    Raises:
        ClockError: If the wait would be too long.
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
            "checkpoint by its time and would not find a new one: set the clock, wait, or use "
            "another thread"
        )
    return max(0.0, ahead)


def _seconds_ahead(checkpoint_id: str) -> float:
    """Return by how much a checkpoint is newer than one written now."""
    try:
        written_at, now = UUID(checkpoint_id), uuid6()
    except ValueError:  # ids of another program
        return 0.0
    is_by_time = written_at.version == now.version
    return (written_at.time - now.time) / _TICKS_PER_SECOND if is_by_time else 0.0
