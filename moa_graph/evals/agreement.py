"""Agreement of two judges: Cohen's kappa (Cohen 1960; weighted, Cohen 1968)."""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moa_graph.evals.ratings import RatingScale

RatingKey = tuple[Hashable, str | int, str]
"""Key of a rating: the system, the instruction, and the part of the judgement."""
Ratings = Mapping[RatingKey, int]
"""Ratings of a judge, by key."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges on their common ratings."""

    judges: tuple[str, str]
    scale: str
    """The rating scale, such as `grade from 1 to 10`."""
    weights: str
    """Weights of disagreements in kappa: `none` or `quadratic`."""
    ratings: int
    """Number of common ratings."""
    instructions: int
    same: float
    """Share of equal ratings."""
    kappa: float | None
    """Cohen's kappa: 1 for full agreement, 0 for chance; `None` if it is undefined."""
    low: float | None
    """Lower end of its interval; `None` if undefined."""
    high: float | None
    confidence: float = 0.95


def measure_agreement(
    judges: tuple[str, str],
    first: Ratings,
    second: Ratings,
    scale: RatingScale,
    *,
    confidence: float = 0.95,
    resamples: int = 1999,
    seed: int = 0,
) -> Agreement | None:
    """Measure how far two judges agree.

    Verdicts are unweighted. Grades have quadratic weights: a difference of two counts four times as
    much as a difference of one. The interval is a bootstrap over instructions with the ratings of
    all systems, which are not independent.

    Args:
        judges: Names of the judges.
        first: Ratings of the first judge.
        second: Ratings of the second judge.
        scale: The rating scale.
        confidence: Confidence of the interval (percentiles of the resampled kappas).
        resamples: Number of resamples.
        seed: Seed of the bootstrap; it determines the interval.

    Returns:
        The agreement; `None` if they have no common rating.
    """
    shared = [key for key in first if key in second]
    if not shared:
        return None
    place = {value: index for index, value in enumerate(scale.values)}
    pairs = [(place[first[key]], place[second[key]]) for key in shared]
    instructions = {key[1]: 0 for key in shared}
    instructions = {each: index for index, each in enumerate(instructions)}
    tables = np.zeros((len(instructions), len(place), len(place)))
    for key, pair in zip(shared, pairs, strict=True):
        tables[(instructions[key[1]], *pair)] += 1
    weights = "quadratic" if scale.is_graded else None
    low, high = _kappa_interval(tables, _disagreement(scale), confidence, resamples, seed)
    return Agreement(
        judges=judges,
        scale=scale.name,
        weights=weights or "none",
        ratings=len(shared),
        instructions=len(instructions),
        same=float(np.mean([one == other for one, other in pairs])),
        kappa=_cohen_kappa(pairs, len(place), weights),
        low=low,
        high=high,
        confidence=confidence,
    )


def _cohen_kappa(pairs: list[tuple[int, int]], count: int, weights: str | None) -> float | None:
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import cohen_kappa_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        kappa = cohen_kappa_score(*zip(*pairs, strict=True), labels=range(count), weights=weights)
    return None if np.isnan(kappa) else float(kappa)


def _disagreement(scale: RatingScale) -> npt.NDArray[np.float64]:
    """Return the weight of the disagreement of each pair of ratings."""
    values = np.arange(len(scale.values))
    apart = values[:, None] - values
    return np.asarray(apart**2 if scale.is_graded else apart != 0, dtype=float)


def _kappa_interval(
    tables: npt.NDArray[np.float64],
    disagreement: npt.NDArray[np.float64],
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[float | None, float | None]:
    """Return a bootstrap interval over instructions, each with its table of ratings.

    scikit-learn's function has the same results, but takes seconds for so many tables.
    """
    count = len(tables)
    if count < 2:
        return None, None
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    drawn = np.tensordot(draws, tables, axes=1)
    seen = (drawn * disagreement).sum((1, 2))
    by_chance = np.einsum("ri,ij,rj->r", drawn.sum(2), disagreement, drawn.sum(1))
    is_defined = by_chance > 0
    if not is_defined.any():
        return None, None
    total = drawn.sum((1, 2))[is_defined]
    kappas = 1 - seen[is_defined] * total / by_chance[is_defined]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(kappas, [tail, 100 - tail])
    return float(low), float(high)
