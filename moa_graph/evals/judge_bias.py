"""Position bias and length bias of a judge."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import atanh, tanh
from statistics import NormalDist, fmean
from typing import NamedTuple

from moa_graph.evals.intervals import mean_interval
from moa_graph.evals.ratings import AnswerComparison, Reading

ItemId = str | int
_TIE = 0.5
_MIN_RANKED = 4  # minimum number of values for the interval of a rank correlation


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float | None
    """Lower end of the interval; `None` if there is none."""
    high: float | None
    instructions: int
    """Number of values."""


@dataclass(frozen=True)
class PositionBias:
    """Position bias of a judge. Shares are from 0 to 1."""

    judge: str
    both_orders: bool
    """Whether it read each pair in both orders, or in one random order."""
    win_rate_first: Estimate | None
    """Share of wins of the systems' answers in the first position."""
    win_rate_second: Estimate | None
    prefers_first: Estimate | None
    """Share of preferences for the first position if each answer were there equally often; 0.5
    without a bias. `None` if there are too few values."""
    consistent: Estimate | None = None
    """Share of pairs with the same verdict in both orders; `None` without both orders."""
    first_in_both: Estimate | None = None
    """Share of pairs in which the first position is preferred in both orders."""
    second_in_both: Estimate | None = None


@dataclass(frozen=True)
class LengthBias:
    """Relation of a judge's preference for a system's answers and their length."""

    judge: str
    system: str
    rank_correlation: Estimate | None
    """Spearman correlation of score and length or, for comparisons, of preference and difference in
    length. `None` if one of them is constant."""
    prefers_longer: Estimate | None = None
    """Share of preferences for the longer answer if the system's were longer and shorter equally
    often; 0.5 without a bias. `None` without comparisons, as are the next two fields."""
    win_rate_longer: Estimate | None = None
    """Share of wins of the system's longer answers."""
    win_rate_shorter: Estimate | None = None

    @property
    def is_comparison(self) -> bool:
        """Whether answers were compared and not graded."""
        return self.win_rate_longer is not None or self.win_rate_shorter is not None


def measure_position_bias(
    judge: str, comparisons: Iterable[tuple[ItemId, AnswerComparison]]
) -> PositionBias | None:
    """Measure the position bias of a judge.

    If several systems have answered an instruction, their mean counts once.

    Args:
        judge: Name of the judge.
        comparisons: Its comparisons with their instructions. Automatic ones do not count.

    Returns:
        The bias; `None` without comparisons.
    """
    asked = [(item, each.readings) for item, each in comparisons if each.readings]
    if not asked:
        return None
    first, second = (_preferences_by_place(asked, is_first=place) for place in (True, False))
    both_orders = first.keys() == second.keys()
    difference = _paired_difference(first, second) if both_orders else _newcombe(first, second)
    bias = PositionBias(
        judge, both_orders, _mean_share(first), _mean_share(second), _halve_difference(difference)
    )
    if not both_orders:
        return bias
    return replace(
        bias,
        consistent=_verdict_share(asked, lambda first, second: first == second),
        first_in_both=_verdict_share(asked, lambda first, second: first > second),
        second_in_both=_verdict_share(asked, lambda first, second: first < second),
    )


def measure_length_bias(
    judge: str,
    system: str,
    scores: Mapping[ItemId, float],
    lengths: Mapping[ItemId, int],
    comparisons: Mapping[ItemId, AnswerComparison],
) -> LengthBias:
    """Measure the relation of a judge's preference and length.

    Args:
        judge: Name of the judge.
        system: Name of the system.
        scores: Scores by instruction.
        lengths: Characters of the answers by instruction.
        comparisons: Comparisons of the judge, if it compares answers.
    """
    if not comparisons:
        pairs = [(scores[item], lengths[item]) for item in scores if item in lengths]
        return LengthBias(judge, system, _rank_correlation(pairs))
    asked = {item: each for item, each in comparisons.items() if each.readings}
    pairs = [(each.preference, each.length - each.other_length) for each in asked.values()]
    longer, shorter = (
        {item: c.preference for item, c in asked.items() if sign * (c.length - c.other_length) > 0}
        for sign in (1, -1)
    )
    return LengthBias(
        judge,
        system,
        _rank_correlation(pairs),
        _halve_difference(_newcombe(longer, shorter)),
        _mean_share(longer),
        _mean_share(shorter),
    )


def _preferences_by_place(
    comparisons: Iterable[tuple[ItemId, Sequence[Reading]]], *, is_first: bool
) -> dict[ItemId, float]:
    """Return the mean preference by instruction, with the system's answer in a position."""
    preferences = defaultdict[ItemId, list[float]](list)
    for item, readings in comparisons:
        for each in readings:
            if each.is_first == is_first:
                preferences[item].append(each.preference)
    return {item: fmean(values) for item, values in preferences.items()}


def _verdict_share(
    comparisons: Iterable[tuple[ItemId, Sequence[Reading]]], is_so: Callable[[int, int], bool]
) -> Estimate | None:
    """Return the share of pairs whose two verdicts have a relation."""
    verdicts = defaultdict[ItemId, list[bool]](list)
    for item, readings in comparisons:
        by_place = {each.is_first: _verdict(each.preference) for each in readings}
        if len(by_place) == len(readings) == 2:
            verdicts[item].append(is_so(by_place[True], by_place[False]))
    return _mean_share({item: fmean(values) for item, values in verdicts.items()})


def _verdict(preference: float) -> int:
    """Return 1 for a win of the system's answer, 0 for a tie, -1 for a loss."""
    return (preference > _TIE) - (preference < _TIE)


def _mean_share(values: Mapping[ItemId, float]) -> Estimate | None:
    shares = list(values.values())
    if not shares:
        return None
    low, high = mean_interval(shares, (0, 1)) or (None, None)
    return Estimate(fmean(shares), low, high, len(shares))


def _paired_difference(
    first: Mapping[ItemId, float], second: Mapping[ItemId, float]
) -> Estimate | None:
    differences = [first[item] - second[item] for item in first]
    low, high = mean_interval(differences, (-1, 1)) or (None, None)
    return Estimate(fmean(differences), low, high, len(differences))


def _newcombe(first: Mapping[ItemId, float], second: Mapping[ItemId, float]) -> Estimate | None:
    """Return the difference of two shares with its interval (Newcombe 1998)."""
    one, other = _mean_share(first), _mean_share(second)
    if one is None or other is None:
        return None
    difference, count = one.value - other.value, one.instructions + other.instructions
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(difference, None, None, count)
    below = ((one.value - one.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
    above = ((one.high - one.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
    return Estimate(difference, difference - below, difference + above, count)


def _halve_difference(difference: Estimate | None) -> Estimate | None:
    """Return the share of preferences for a position or length, from the difference of shares."""
    if difference is None:
        return None
    value, low, high, count = difference
    return Estimate(
        _TIE + value / 2,
        None if low is None else max(0.0, _TIE + low / 2),
        None if high is None else min(1.0, _TIE + high / 2),
        count,
    )


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> Estimate | None:
    """Return Spearman's rank correlation with the interval of Bonett and Wright (2000)."""
    from scipy.stats import spearmanr

    if any(len(set(column)) < 2 for column in zip(*pairs, strict=True)) or not pairs:
        return None
    value = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    if len(pairs) < _MIN_RANKED or abs(value) >= 1:
        return Estimate(value, None, None, len(pairs))
    error = ((1 + value**2 / 2) / (len(pairs) - 3)) ** 0.5
    half = NormalDist().inv_cdf(0.975) * error
    return Estimate(value, tanh(atanh(value) - half), tanh(atanh(value) + half), len(pairs))
