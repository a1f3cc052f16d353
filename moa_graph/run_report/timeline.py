"""The calls of a run on one time axis, from which long pauses are taken out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal

from moa_graph.runs.formatting import say_seconds
from moa_graph.runs.record import Call, Run

LONG = 0.25  # of the time that is worked: a pause that is longer is cut short
CUT = 0.05
TICKS = 6
FULL = 75  # percent of the axis, behind which there is no room for a text


@dataclass(frozen=True)
class Bar:
    """A call; places in percent of the axis."""

    call: Call
    left: float
    width: float

    @property
    def label(self) -> Literal["right", "left", "inside"]:
        """Where there is room to write beside it."""
        if self.left + self.width <= FULL:
            return "right"
        return "left" if self.left > 100 - FULL else "inside"


@dataclass(frozen=True)
class Mark:
    """A place on the axis, in percent."""

    left: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """A bar for each call."""

    bars: Sequence[Bar]
    ticks: Sequence[Mark]
    pauses: Sequence[Mark]


def lay_out(run: Run) -> Timeline | None:
    """Put the calls of a run on one axis; `None` if it is not known when they began."""
    if not run.calls or any(call.started is None for call in run.calls):
        return None
    spells = _spells(run.calls)
    worked = sum(end - start for start, end in spells) or 0.001
    axis = _Axis(spells, worked)
    bars = [
        Bar(call, axis.percent(call.started or 0), 100 * call.seconds / axis.length)
        for call in run.calls
    ]
    return Timeline(bars, list(axis.ticks()), axis.pauses)


def _spells(calls: Sequence[Call]) -> list[tuple[float, float]]:
    """Find the times at which a call was running."""
    spells: list[tuple[float, float]] = []
    for start, end in sorted((call.started or 0.0, call.ended) for call in calls):
        if spells and start <= spells[-1][1]:
            spells[-1] = (spells[-1][0], max(spells[-1][1], end))
        else:
            spells.append((start, end))
    return spells


class _Axis:
    """From the time of day to a place."""

    def __init__(self, spells: Sequence[tuple[float, float]], worked: float) -> None:
        self._spells: list[tuple[float, float]] = []  # when one begins, and where
        pauses: list[tuple[float, float]] = []
        place, before = 0.0, spells[0][0]
        for start, end in spells:
            pause = start - before
            if pause > LONG * worked:
                pauses.append((place + CUT * worked / 2, pause))
                pause = CUT * worked
            self._spells.append((start, place + pause))
            place, before = place + pause + end - start, end
        self.length = place or worked
        self.pauses = [Mark(100 * at / self.length, say_seconds(s)) for at, s in pauses]

    def percent(self, time: float) -> float:
        start, place = max(s for s in self._spells if s[0] <= time)
        return 100 * (place + time - start) / self.length

    def ticks(self) -> Sequence[Mark]:
        step = _round_step(self.length / TICKS)
        count = floor(self.length / step)
        return [Mark(100 * n * step / self.length, f"{n * step:g} s") for n in range(count + 1)]


def _round_step(step: float) -> float:
    unit = 10.0 ** floor(log10(step))
    return float(next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= step))
