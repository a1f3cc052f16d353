"""The calls of a run on one time axis, without long pauses."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.formatting import format_seconds
from moa_graph.runs.record import RunRecord

LONG_PAUSE_SHARE = 0.25  # maximum pause, as a share of the worked time
PAUSE_WIDTH_SHARE = 0.05
TICK_COUNT = 4


@dataclass(frozen=True)
class CallBar:
    """The bar of a call; positions in percent of the axis."""

    call: AgentCall
    left: float
    width: float
    is_critical: bool = False
    """Whether the call is on the critical path."""


@dataclass(frozen=True)
class AxisMark:
    """A position on the axis, in percent."""

    left: float
    text: str


@dataclass(frozen=True)
class CallTimeline:
    """The bars of all calls."""

    bars: Sequence[CallBar]
    ticks: Sequence[AxisMark]
    pauses: Sequence[AxisMark]
    one_by_one: float
    """Total seconds of the calls in sequence."""

    @property
    def tick_width(self) -> float:
        """Distance of the ticks in percent."""
        return self.ticks[1].left if len(self.ticks) > 1 else 100.0

    @property
    def tick_step(self) -> str:
        """Distance of the ticks in seconds."""
        return self.ticks[1].text if len(self.ticks) > 1 else ""


def build_timeline(run: RunRecord) -> CallTimeline | None:
    """Build the timeline of a run; `None` if the starts of calls are unknown."""
    # The call of a failed aggregator has neither start nor duration.
    calls = [call for call in run.calls if call.started is not None or call.seconds]
    place = len(calls) - any(call.node == AGGREGATOR for call in calls[-1:])
    calls[place:place] = [call for call in run.failed_writers if call.started]
    if not calls or any(call.started is None for call in calls):
        return None
    intervals = _busy_intervals(calls)
    busy_seconds = sum(end - start for start, end in intervals) or 0.001
    axis = _TimeAxis(intervals, busy_seconds)
    bars = [
        CallBar(
            call,
            axis.percent(call.started or 0),
            100 * call.seconds / axis.length,
            is_critical=call.node in run.critical_path and call not in run.failed_writers,
        )
        for call in calls
    ]
    return CallTimeline(bars, list(axis.ticks()), axis.pauses, sum(call.seconds for call in calls))


def _busy_intervals(calls: Sequence[AgentCall]) -> list[tuple[float, float]]:
    """Return the intervals with a running call."""
    intervals: list[tuple[float, float]] = []
    for start, end in sorted((call.started or 0.0, call.ended) for call in calls):
        if intervals and start <= intervals[-1][1]:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], end))
        else:
            intervals.append((start, end))
    return intervals


class _TimeAxis:
    """Maps times to positions."""

    def __init__(self, intervals: Sequence[tuple[float, float]], busy_seconds: float) -> None:
        self._intervals: list[tuple[float, float]] = []  # start, position
        pauses: list[tuple[float, float]] = []
        position, before = 0.0, intervals[0][0]
        for start, end in intervals:
            pause = start - before
            if pause > LONG_PAUSE_SHARE * busy_seconds:
                pauses.append((position + PAUSE_WIDTH_SHARE * busy_seconds / 2, pause))
                pause = PAUSE_WIDTH_SHARE * busy_seconds
            self._intervals.append((start, position + pause))
            position, before = position + pause + end - start, end
        self.length = position or busy_seconds
        self.pauses = [AxisMark(100 * at / self.length, format_seconds(s)) for at, s in pauses]

    def percent(self, time: float) -> float:
        start, position = max(s for s in self._intervals if s[0] <= time)
        return 100 * (position + time - start) / self.length

    def ticks(self) -> Sequence[AxisMark]:
        step = _round_step(self.length / TICK_COUNT)
        count = floor(self.length / step)
        return [AxisMark(100 * n * step / self.length, f"{n * step:g} s") for n in range(count + 1)]


def _round_step(step: float) -> float:
    unit = 10.0 ** floor(log10(step))
    return float(next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= step))
