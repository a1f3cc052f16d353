"""Ratings: judgements in a form that all judges and benchmarks share."""

from collections.abc import Sequence
from typing import NamedTuple


class RatingScale(NamedTuple):
    """The ratings that a judge can give."""

    name: str
    """Name of the scale, such as `grade from 1 to 10`."""
    values: Sequence[int]
    """Possible ratings, in order."""
    is_graded: bool
    """Whether disagreement grows with the distance of two ratings."""


class Reading(NamedTuple):
    """One comparison of two answers by a judge, in one order."""

    is_first: bool
    """Whether the system's answer was first."""
    preference: float
    """Preference for the system's answer, from 0 to 1."""


class AnswerComparison(NamedTuple):
    """A judgement that compares a system's answer with another one."""

    preference: float
    """Preference for the system's answer, from 0 to 1."""
    length: int
    """Characters of the system's answer."""
    other_length: int
    """Characters of the other answer."""
    readings: Sequence[Reading] = ()
    """Calls of the judge; empty for automatic judgements, as of identical answers."""


def round_to_scale(rating: float, scale: RatingScale) -> int:
    """Return the nearest value of a scale; of two, the higher one."""
    return min(scale.values, key=lambda value: (abs(value - rating), -value))
