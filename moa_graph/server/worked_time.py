"""Worked seconds of a turn, without the pauses between its runs."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from moa_graph.runs.live import AgentProgress


class WorkedTime(NamedTuple):
    """Times of a turn on a clock that stops while no run is active.

    All times are in seconds since 1970.
    """

    began: float | None
    """Start of the first call; `None` if there was none."""
    ended: float | None
    """End of the last completed call."""
    pauses: Sequence[tuple[float, float]]
    """Pauses between runs."""

    @classmethod
    def from_agents(cls, agents: Iterable[AgentProgress], starts: Sequence[float]) -> Self:
        """Compute the times from calls.

        Args:
            agents: Their calls.
            starts: Starts of the runs of the turn, in order.
        """
        calls = [
            (each.called_at, each.called_at + (each.seconds or 0.0))
            for each in agents
            if each.called_at
        ]
        pauses, previous = list[tuple[float, float]](), 0.0
        for start in starts:
            ends = [ended for called_at, ended in calls if called_at < start]
            if ends and (begin := max(previous, *ends)) < start:
                pauses.append((begin, start))
            previous = start
        began = min((called_at for called_at, _ in calls), default=None)
        return cls(began, max((ended for _, ended in calls), default=None), pauses)

    @property
    def total(self) -> float:
        """Worked seconds until the last call ended."""
        return self.until(self.ended) or 0.0

    def until(self, moment: float | None) -> float | None:
        """Return the worked seconds before a time."""
        if moment is None or self.began is None:
            return None
        paused = sum(max(0.0, min(end, moment) - begin) for begin, end in self.pauses)
        return round(moment - self.began - paused, 3)
