"""Comparisons of systems: whether one is better, or the difference is within the noise.

The systems answered the same instructions, so the tests use the difference for each instruction.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from moa_graph.evals.columns import Column, check_aligned, read_column
from moa_graph.evals.intervals import difference_interval

_BATCH = 500  # resamples at a time, to limit memory


@dataclass(frozen=True)
class Comparison:
    """The mean difference between two systems, with its interval and test."""

    names: tuple[str, str]
    difference: float
    """Mean score of the first minus that of the second, in the unit of the scores."""
    low: float
    """Lower end of the interval of the difference."""
    high: float
    """Upper end."""
    confidence: float
    """Confidence of the interval; 0.95 is 95 %."""
    p_value: float
    """Two-sided p-value: probability of such a difference by chance."""
    instructions: int
    """Number of instructions with scores of both."""
    unmatched: int
    """Number of instructions with a score of only one, which are left out."""
    metric: str = ""
    """Name of the metric, such as `win rate, %`."""
    corrected_p_value: float | None = None
    """The p-value corrected for multiple comparisons."""
    comparisons: int = 1
    """Number of simultaneous comparisons."""

    @property
    def better(self) -> str | None:
        """Name of the better system, or `None` if the difference is within the noise.

        The interval and the test must agree: an interval from few instructions is too narrow.
        """
        p_value = self.p_value if self.corrected_p_value is None else self.corrected_p_value
        if p_value >= 1 - self.confidence or self.low <= 0 <= self.high:
            return None
        return self.names[self.difference < 0]

    @property
    def verdict(self) -> str:
        """The comparison in words."""
        ahead, behind = self.names if self.difference >= 0 else self.names[::-1]
        low, high = (self.low, self.high) if self.difference >= 0 else (-self.high, -self.low)
        chance = f"p {_format_p_value(self.p_value)}"
        if self.corrected_p_value is not None:
            corrected = _format_p_value(self.corrected_p_value)
            chance += f", corrected for {self.comparisons} comparisons {corrected}"
        left_out = f", {self.unmatched} left out" if self.unmatched else ""
        figures = (
            f"({100 * self.confidence:g} % interval {low:z.3g} to {high:z.3g}, {chance}, "
            f"{self.instructions} instructions{left_out})"
        )
        figures = f"in {self.metric} {figures}" if self.metric else figures
        size = f"by {abs(self.difference):.3g} {figures}"
        if self.better:
            return f"{ahead} is better than {behind} {size}"
        if self.difference == 0:
            return f"within the noise: {ahead} and {behind} are level {figures}"
        return f"within the noise: {ahead} is ahead of {behind} {size}"


def correct_for_multiple(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of simultaneous comparisons (Holm 1979).

    Args:
        comparisons: All of them: among many, some look significant by chance.

    Returns:
        The comparisons with `corrected_p_value`, in the same order.
    """
    count, highest = len(comparisons), 0.0
    if count < 2:  # noqa: PLR2004  # one needs no correction
        return [*comparisons]
    corrected = [0.0] * count
    by_p_value = sorted(range(count), key=lambda index: comparisons[index].p_value)
    for rank, index in enumerate(by_p_value):
        highest = min(1.0, max(highest, (count - rank) * comparisons[index].p_value))
        corrected[index] = highest
    return [
        replace(each, corrected_p_value=value, comparisons=count)
        for each, value in zip(comparisons, corrected, strict=True)
    ]


def _format_p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"  # noqa: PLR2004


def compare(
    first: Mapping[Any, float | None],
    second: Mapping[Any, float | None],
    *,
    names: tuple[str, str] = ("A", "B"),
    metric: str = "",
    bounds: tuple[float, float] | None = None,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the instructions with scores of both.

    Args:
        first: Scores by instruction id; `None` or NaN if missing. Any unit in which more is better:
            `100 * (preference - 1)` gives points of a win rate.
        second: Scores of the other system.
        names: Names of the systems for the verdict.
        metric: Name of the metric for the verdict.
        bounds: Lowest and highest possible score. With them, the interval has a width even if all
            differences are equal.
        confidence: Confidence of the interval.
        resamples: Number of resamples, for the interval and for the test.
        seed: Seed of the resampling; it determines the figures.

    Raises:
        ValueError: If fewer than 2 instructions have both scores, or an option is invalid.
    """
    scores = [_scored_instructions("first", first), _scored_instructions("second", second)]
    ids = [instruction for instruction in scores[0] if instruction in scores[1]]
    if len(ids) < 2:  # noqa: PLR2004  # one has no spread
        raise ValueError(f"expected at least 2 instructions with both scores, got {len(ids)}")
    columns = [np.array([each[instruction] for instruction in ids]) for each in scores]
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    differences = (columns[0] - columns[1]).tolist()
    low, high = paired_bootstrap(*columns, confidence=confidence, **options)
    if low == high and bounds:  # equal differences leave nothing to resample
        low, high = difference_interval(differences, bounds, confidence=confidence) or (low, high)
    return Comparison(
        names=names,
        difference=fmean(differences),
        low=low,
        high=high,
        confidence=confidence,
        p_value=paired_test(*columns, **options),
        instructions=len(ids),
        unmatched=len(scores[0].keys() ^ scores[1].keys()),
        metric=metric,
    )


def paired_bootstrap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean difference.

    The ends are percentiles of the resampled means. The mean of many differences is nearly
    symmetric, and unlike corrected ends, percentiles exist even for equal differences.

    Args:
        first: Scores of a system, one for each instruction.
        second: Scores of the other system for the same instructions.
        confidence: Confidence of the interval: above 0 and below 1.
        resamples: Number of resamples.
        seed: Seed of the resampling; it determines the interval.

    Raises:
        ValueError: If the scores have different lengths or an option is invalid.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence`: expected a number between 0 and 1, got {confidence}")
    from scipy.stats import bootstrap

    interval = bootstrap(
        (_paired_differences(first, second),),
        np.mean,
        confidence_level=confidence,
        method="percentile",
        **_resampling_options(resamples, seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def paired_test(
    first: npt.ArrayLike, second: npt.ArrayLike, *, resamples: int = 9999, seed: int = 0
) -> float:
    """Return the p-value of the mean difference from a paired permutation test.

    If the systems were equally good, each difference could equally have the other sign. The test
    uses the reported mean and includes ties; Wilcoxon's test uses ranks and leaves ties out. For
    few instructions, the test is exact.

    Args:
        first: Scores of a system, one for each instruction.
        second: Scores of the other system for the same instructions.
        resamples: Number of resamples.
        seed: Seed of the resampling; it determines the value.

    Returns:
        The two-sided p-value: the share of sign changes with a mean at least as far from 0.

    Raises:
        ValueError: If the scores have different lengths or an option is invalid.
    """
    from scipy.stats import permutation_test

    result = permutation_test(
        (_paired_differences(first, second),),
        lambda differences, axis: abs(differences.mean(axis)),
        permutation_type="samples",
        alternative="greater",  # scipy's two-sided test is wrong with ties
        **_resampling_options(resamples, seed),
    )
    return float(result.pvalue)


def _resampling_options(resamples: int, seed: int) -> dict[str, Any]:
    if resamples < 1:
        raise ValueError(f"`resamples`: expected at least 1, got {resamples}")
    return {
        "n_resamples": resamples,
        "batch": _BATCH,
        "vectorized": True,
        "rng": np.random.default_rng(seed),
    }


def _paired_differences(first: npt.ArrayLike, second: npt.ArrayLike) -> Column:
    columns = read_column("first", first), read_column("second", second)
    check_aligned(first=columns[0], second=columns[1])
    if columns[0].size < 2:  # noqa: PLR2004  # one has no spread
        raise ValueError("`first`, `second`: expected at least 2 instructions, got 1")
    return np.asarray(columns[0] - columns[1])


def _scored_instructions(name: str, scores: Mapping[Any, float | None]) -> dict[Hashable, float]:
    """Return the instructions with a score."""
    column = read_column(name, list(scores.values()), gaps=True)
    pairs = zip(scores, column.tolist(), strict=True)
    return {instruction: score for instruction, score in pairs if score == score}  # noqa: PLR0124
