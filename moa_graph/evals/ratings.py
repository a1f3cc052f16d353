"""What a judgement says, in a form that judges and benchmarks share."""

from collections.abc import Sequence
from typing import NamedTuple


class RatingScale(NamedTuple):
    """The ratings that a judge can give."""

    name: str
    """Such as `grade from 1 to 10`."""
    values: Sequence[int]
    """In their order."""
    is_graded: bool
    """Whether two ratings disagree the more, the farther they are apart."""


class Reading(NamedTuple):
    """A comparison of two answers as the judge read them, one after the other."""

    is_first: bool
    """Whether the system's answer stood first."""
    preference: float
    """For the system's answer, from 0 to 1."""


class AnswerComparison(NamedTuple):
    """A judgement that holds a system's answer against another."""

    preference: float
    """For the system's answer, from 0 to 1."""
    length: int
    """Characters of the system's answer."""
    other_length: int
    """Characters of the other answer."""
    readings: Sequence[Reading] = ()
    """None where no judge was asked, as for identical answers."""


def round_to_scale(rating: float, scale: RatingScale) -> int:
    """Give the value of a scale that is nearest; of two, the greater one."""
    return min(scale.values, key=lambda value: (abs(value - rating), -value))
