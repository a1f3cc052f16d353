"""How far two judges agree: Cohen's kappa (Cohen 1960; weighted, Cohen 1968)."""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moa_graph.evals.ratings import RatingScale

RatingKey = tuple[Hashable, str | int, str]
"""The system, the instruction, and the part of the judgement."""
Ratings = Mapping[RatingKey, int]
"""What a judge said of what it was asked."""


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree on what both of them judged."""

    judges: tuple[str, str]
    scale: str
    """What they said, such as `grade from 1 to 10`."""
    weights: str
    """Of disagreements in kappa: `none` if all count alike, or `quadratic`."""
    ratings: int
    """That both gave."""
    instructions: int
    same: float
    """Share of them that are the same."""
    kappa: float | None
    """1 if they always agree, 0 if as often as by chance; `None` if there is no such chance."""
    low: float | None
    """Lower end of its interval; `None` if there is none."""
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

    Verdicts have plain weights, grades quadratic ones: a difference of two counts four times as
    much as one of one. The interval is from instructions drawn with replacement, each with the
    ratings of all systems: these are not independent.

    Args:
        judges: Their names.
        first: What the first one said.
        second: What the other one said.
        scale: What they could say.
        confidence: Of the interval: percentiles of the resampled kappas.
        resamples: How often the instructions are drawn.
        seed: The same seed gives the same interval.

    Returns:
        The agreement; `None` if they have no rating in common.
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
    """Give what each pair of ratings counts as a disagreement."""
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
    """Resample instructions, each with its table of ratings.

    scikit-learn's function, which gives the same, takes seconds for so many tables.
    """
    count = len(tables)
    if count < 2:  # noqa: PLR2004  # one has no spread
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
