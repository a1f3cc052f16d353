"""Whether one system is better than another, or the difference is inside the noise.

The systems answered the same instructions, so that what counts is the difference on each.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moa_graph.evals.columns import Column, check_aligned, read_column

_BATCH = 500  # resamples at a time, for the memory's sake


@dataclass(frozen=True)
class Comparison:
    """The mean difference between two systems, and what it is worth."""

    names: tuple[str, str]
    difference: float
    """Mean score of the first minus that of the second, in the scores' own unit."""
    low: float
    """Lower end of the interval of the difference."""
    high: float
    """Upper end."""
    confidence: float
    """Of the interval; 0.95 is 95 %."""
    p_value: float
    """How often chance alone would make a difference as large, in either direction."""
    instructions: int
    """Those that both have a score for."""
    unmatched: int
    """Those that only one of them has a score for: they are left out."""
    metric: str = ""
    """What the scores are, such as `win rate, %`."""
    corrected_p_value: float | None = None
    """The p-value corrected for other comparisons that were made with it."""
    comparisons: int = 1
    """How many were made together."""

    @property
    def better(self) -> str | None:
        """Name of the better system, or `None` if the difference is inside the noise.

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
            return f"inside the noise: {ahead} and {behind} are level {figures}"
        return f"inside the noise: {ahead} is ahead of {behind} {size}"


def correct_for_multiple(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct the p-values of comparisons that are made together (Holm 1979).

    Args:
        comparisons: All of them: of many, some look real by chance.

    Returns:
        The same with `corrected_p_value`, in the same order.
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
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the instructions that both have a score for.

    Args:
        first: Scores by id of the instruction; `None` or NaN if there is none. Any unit will do
            in which more is better: `100 * (preference - 1)` gives points of a win rate.
        second: Those of the other system.
        names: What the verdict calls them.
        metric: What it calls the scores.
        confidence: Of the interval.
        resamples: How often chance is asked, for the interval and for the test.
        seed: The same seed gives the same figures.

    Raises:
        ValueError: If fewer than 2 instructions have both scores, or an option is impossible.
    """
    scores = [_scored_instructions("first", first), _scored_instructions("second", second)]
    ids = [instruction for instruction in scores[0] if instruction in scores[1]]
    if len(ids) < 2:  # noqa: PLR2004  # one has no spread
        raise ValueError(f"expected at least 2 instructions with both scores, got {len(ids)}")
    columns = [np.array([each[instruction] for instruction in ids]) for each in scores]
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    low, high = paired_bootstrap(*columns, confidence=confidence, **options)
    return Comparison(
        names=names,
        difference=float((columns[0] - columns[1]).mean()),
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
    """Give the interval of the mean difference, from instructions drawn with replacement.

    The ends are percentiles of the resampled means: a mean of many differences is close to
    symmetric, and unlike corrected ends they exist even if all differences are the same.

    Args:
        first: Scores of a system, one for each instruction.
        second: Those of the other, for the same instructions.
        confidence: Of the interval: above 0 and below 1.
        resamples: How often the instructions are drawn.
        seed: The same seed gives the same interval.

    Raises:
        ValueError: If the scores do not fit together or an option is impossible.
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
    """Test whether chance alone could make the mean difference.

    A permutation test: if the systems were equally good, each difference could as well have the
    other sign. It asks about the very mean that is reported and counts ties for what they are;
    Wilcoxon's test asks about ranks and has to leave ties out. Few instructions are gone
    through exactly.

    Args:
        first: Scores of a system, one for each instruction.
        second: Those of the other, for the same instructions.
        resamples: How often the signs are drawn.
        seed: The same seed gives the same value.

    Returns:
        The two-sided p-value: the share of signs with a mean difference at least as far from 0.

    Raises:
        ValueError: If the scores do not fit together or an option is impossible.
    """
    from scipy.stats import permutation_test

    result = permutation_test(
        (_paired_differences(first, second),),
        lambda differences, axis: abs(differences.mean(axis)),
        permutation_type="samples",
        alternative="greater",  # scipy's own two sides double the smaller tail, wrong with ties
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
    """Leave out the instructions that have no score."""
    column = read_column(name, list(scores.values()), gaps=True)
    pairs = zip(scores, column.tolist(), strict=True)
    return {instruction: score for instruction, score in pairs if score == score}  # noqa: PLR0124
