"""Scores of MT-Bench: ratings from a judge's text, and their means."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moa_graph.evals.columns import (
    Column,
    Values,
    check_aligned,
    check_range,
    read_column,
)

NO_SCORE = -1.0
"""Value of an invalid rating, also in the benchmark's files."""
HIGHEST = 10.0

_NUMBER = r"(\d+(?:\.\d*)?)"
_RATINGS = (re.compile(rf"\[\[{_NUMBER}\]\]"), re.compile(rf"\[{_NUMBER}\]"))


@dataclass(frozen=True)
class MTBenchScore:
    """Mean ratings from 1 to 10; `None` if there is no rating."""

    first_turn: float | None
    second_turn: float | None
    both: float | None
    """Mean over the ratings of both turns."""
    categories: Mapping[str, float | None]
    """The same by category, in order of appearance."""
    rated: int
    """Number of ratings."""
    dropped: int
    """Number of answers without a valid rating."""


def extract_score(judgement: str) -> float:
    """Parse the rating in a judgement.

    The first number in double brackets is used, otherwise the first one in single brackets. A
    number above 10 is not a rating (it may be a year). Unlike in the published code, it is not
    averaged.

    Returns:
        The rating, or -1 if there is none.
    """
    for pattern in _RATINGS:
        if match := pattern.search(judgement):
            score = float(match[1])
            return score if score <= HIGHEST else NO_SCORE
    return NO_SCORE


def mt_bench_score(scores: Values, turns: npt.ArrayLike, categories: Sequence[str]) -> MTBenchScore:
    """Average ratings by turn and by category.

    Args:
        scores: Rating of each answer; -1, NaN or `None` if it is invalid.
        turns: Turn of each answer: 1 or 2.
        categories: Category of each answer's question.

    Raises:
        ValueError: If the columns have different lengths or invalid values.
    """
    ratings = _read_scores(scores)
    numbers = read_column("turns", turns)
    check_aligned(scores=ratings, turns=numbers, categories=categories)
    if not np.isin(numbers, (1, 2)).all():
        raise ValueError(f"`turns`: expected 1 or 2, got {sorted(set(numbers.tolist()))}")
    labels = np.asarray(categories, dtype=object)
    return MTBenchScore(
        first_turn=_mean_rating(ratings[numbers == 1]),
        second_turn=_mean_rating(ratings[numbers != 1]),
        both=_mean_rating(ratings),
        categories={
            name: _mean_rating(ratings[labels == name]) for name in dict.fromkeys(categories)
        },
        rated=int(np.isfinite(ratings).sum()),
        dropped=int(np.isnan(ratings).sum()),
    )


def _read_scores(values: Values) -> Column:
    """Return scores with NaN for missing ones."""
    column = read_column("scores", values, gaps=True)
    ratings = np.where(column == NO_SCORE, math.nan, column)
    check_range("scores", ratings, 0, HIGHEST)
    return ratings


def _mean_rating(ratings: Column) -> float | None:
    valid = ratings[~np.isnan(ratings)]
    return float(valid.mean()) if valid.size else None
