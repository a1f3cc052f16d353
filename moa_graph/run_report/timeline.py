"""The calls of a run on one time axis, from which long pauses are taken out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal

from moa_graph.runs.formatting import format_seconds
from moa_graph.runs.record import AgentCall, RunRecord

LONG_PAUSE_SHARE = 0.25  # of the time that is worked: a pause that is longer is cut short
PAUSE_WIDTH_SHARE = 0.05
TICK_COUNT = 6
LABEL_LIMIT_PERCENT = 75  # percent of the axis, behind which there is no room for a text


@dataclass(frozen=True)
class CallBar:
    """A call; places in percent of the axis."""

    call: AgentCall
    left: float
    width: float

    @property
    def label_side(self) -> Literal["right", "left", "inside"]:
        """Where there is room to write beside it."""
        if self.left + self.width <= LABEL_LIMIT_PERCENT:
            return "right"
        return "left" if self.left > 100 - LABEL_LIMIT_PERCENT else "inside"


@dataclass(frozen=True)
class AxisMark:
    """A place on the axis, in percent."""

    left: float
    text: str


@dataclass(frozen=True)
class CallTimeline:
    """A bar for each call."""

    bars: Sequence[CallBar]
    ticks: Sequence[AxisMark]
    pauses: Sequence[AxisMark]


def build_timeline(run: RunRecord) -> CallTimeline | None:
    """Put the calls of a run on one axis; `None` if it is not known when they began."""
    # Of a failed aggregator, neither its beginning nor its length is stored.
    calls = [call for call in run.calls if call.started is not None or call.seconds]
    if not calls or any(call.started is None for call in calls):
        return None
    intervals = _busy_intervals(calls)
    busy_seconds = sum(end - start for start, end in intervals) or 0.001
    axis = _TimeAxis(intervals, busy_seconds)
    bars = [
        CallBar(call, axis.percent(call.started or 0), 100 * call.seconds / axis.length)
        for call in calls
    ]
    return CallTimeline(bars, list(axis.ticks()), axis.pauses)


def _busy_intervals(calls: Sequence[AgentCall]) -> list[tuple[float, float]]:
    """Find the times at which a call was running."""
    intervals: list[tuple[float, float]] = []
    for start, end in sorted((call.started or 0.0, call.ended) for call in calls):
        if intervals and start <= intervals[-1][1]:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], end))
        else:
            intervals.append((start, end))
    return intervals


class _TimeAxis:
    """From the time of day to a place."""

    def __init__(self, intervals: Sequence[tuple[float, float]], busy_seconds: float) -> None:
        self._intervals: list[tuple[float, float]] = []  # when one begins, and where
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
