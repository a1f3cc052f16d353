"""Confidence intervals of a mean, reliable for few instructions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moa_graph.evals.columns import Column, read_column


def mean_interval(
    values: npt.ArrayLike,
    bounds: tuple[float, float] | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Return the confidence interval of a mean over instructions.

    Between bounds it is Wilson's score interval (Wilson 1927) for the effective number of
    instructions given the variance of the scores, with Student's t quantile; otherwise Student's
    interval. Unlike a bootstrap of few scores, it is wide enough, and has a width even for equal
    scores.

    Args:
        values: Score of each instruction.
        bounds: Lowest and highest possible score, if there are any.
        confidence: Above 0 and below 1.

    Returns:
        The ends of the interval; `None` for a single instruction.

    Raises:
        ValueError: If a score or the confidence is invalid.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence`={confidence}: expected a number between 0 and 1")
    scores = read_column("values", values)
    if scores.size < 2:  # noqa: PLR2004  # one has no spread
        return None
    from scipy.stats import t

    quantile = float(t.ppf((1 + confidence) / 2, scores.size - 1))
    if bounds is None:
        half = quantile * float(scores.std(ddof=1)) / scores.size**0.5
        return float(scores.mean()) - half, float(scores.mean()) + half
    least, greatest = bounds
    low, high = _wilson_interval((scores - least) / (greatest - least), quantile)
    return least + low * (greatest - least), least + high * (greatest - least)


def difference_interval(
    differences: Sequence[float],
    bounds: tuple[float, float] | None,
    *,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Return the interval of the mean difference of scores over instructions.

    As in `mean_interval`, bounds give it a width even for equal differences, and limit it to
    possible values.

    Args:
        differences: Difference of each instruction.
        bounds: Bounds of the scores, if there are any.
        confidence: As in `mean_interval`.

    Returns:
        The ends of the interval; `None` for fewer than two instructions.
    """
    if not differences:
        return None
    scale = bounds and bounds[1] - bounds[0]
    limits = (-scale, scale) if scale else None
    return mean_interval(differences, limits, confidence=confidence)


def _wilson_interval(shares: Column, quantile: float) -> tuple[float, float]:
    mean, count = float(shares.mean()), shares.size
    if not 0 <= float(shares.min()) <= float(shares.max()) <= 1:
        raise ValueError("`values`: expected scores between the bounds")
    binary_variance = mean * (1 - mean)
    ratio = 1.0
    if binary_variance > 0:  # shares vary less than hits and misses, but more than 0
        ratio = float(np.clip(shares.var(ddof=1) / binary_variance, 1 / count, 1))
    weight = quantile**2 * ratio / count
    center = (mean + weight / 2) / (1 + weight)
    half = (binary_variance * weight + weight**2 / 4) ** 0.5 / (1 + weight)
    return max(0.0, center - half), min(1.0, center + half)
