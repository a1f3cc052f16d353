"""Joint errors of proposers, and the value of several proposers compared with one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from moa_graph.evals.intervals import mean_interval

RIGHT = 0.5
"""Minimum points of a correct proposal."""

Interval = tuple[float, float]
Flags = npt.NDArray[np.bool_]


class ProposalScore(NamedTuple):
    """The score of a proposal."""

    points: float
    """Points from 0 to 1."""
    answer: str | None = None
    """The extracted final answer; `None` if there is none."""

    @property
    def is_right(self) -> bool:
        """Whether the proposal counts as correct."""
        return self.points >= RIGHT


@dataclass(frozen=True)
class ProposerAccuracy:
    """Accuracy of a proposer."""

    name: str
    accuracy: float
    """Accuracy in percent."""
    interval: Interval | None
    only_one_right: float
    """Share of instructions that only this proposer answers correctly, in percent."""


@dataclass(frozen=True)
class SharedErrors:
    """Joint errors of two proposers."""

    names: tuple[str, str]
    both_wrong: float
    """Share of instructions with two wrong proposals, in percent."""
    expected: float
    """The same for independent errors, in percent."""
    correlation: float | None
    """Correlation of their errors (phi): 0 for independence, 1 for joint errors only; `None` if one
    of them is always right or always wrong."""
    same_wrong_answer: float | None
    """Share of equal answers among the instructions with two wrong proposals, in percent; `None` if
    unknown."""


@dataclass(frozen=True)
class Diversity:
    """Diversity of the proposals that an aggregator reads."""

    instructions: int
    """Number of instructions with a proposal of every proposer."""
    proposers: Sequence[ProposerAccuracy]
    all_wrong: float
    """Share without a correct proposal, in percent: the minimum error of any selection."""
    all_wrong_interval: Interval | None
    all_wrong_expected: float
    """The same for independent errors, in percent."""
    pairs: Sequence[SharedErrors]
    """Pairs of proposers, most correlated first."""


def measure_diversity(
    by_item: Mapping[str | int, Mapping[str, ProposalScore]],
) -> Diversity | None:
    """Measure joint errors of proposers.

    Args:
        by_item: Scores of the proposals of a layer, by instruction and by proposer.

    Returns:
        The figures over the instructions with all proposals; `None` if there are none, or only one
        proposer.
    """
    names = list(dict.fromkeys(name for scores in by_item.values() for name in scores))
    complete = [scores for scores in by_item.values() if len(scores) == len(names)]
    if len(names) < 2 or not complete:
        return None
    right = {name: np.array([each[name].is_right for each in complete]) for name in names}
    table = np.array(list(right.values()))
    all_wrong: Flags = np.asarray(~table.any(axis=0))
    alone = table & (table.sum(axis=0) == 1)
    return Diversity(
        instructions=len(complete),
        proposers=[
            ProposerAccuracy(
                name,
                _mean_percent(right[name]),
                _percent_interval(right[name]),
                _mean_percent(alone[place]),
            )
            for place, name in enumerate(names)
        ],
        all_wrong=_mean_percent(all_wrong),
        all_wrong_interval=_percent_interval(all_wrong),
        all_wrong_expected=100 * prod(1 - float(each.mean()) for each in right.values()),
        pairs=_measure_pairs(complete, right),
    )


def _measure_pairs(
    complete: Sequence[Mapping[str, ProposalScore]], right: Mapping[str, Flags]
) -> list[SharedErrors]:
    pairs = [_measure_pair(pair, complete, right) for pair in combinations(right, 2)]
    return sorted(pairs, key=lambda each: -2 if each.correlation is None else -each.correlation)


def _measure_pair(
    names: tuple[str, str],
    complete: Sequence[Mapping[str, ProposalScore]],
    right: Mapping[str, Flags],
) -> SharedErrors:
    first, second = (~right[name] for name in names)
    both = first & second
    varies = 0 < first.mean() < 1 and 0 < second.mean() < 1
    return SharedErrors(
        names,
        both_wrong=_mean_percent(both),
        expected=100 * float(first.mean() * second.mean()),
        correlation=float(np.corrcoef(first, second)[0, 1]) if varies else None,
        same_wrong_answer=_share_of_same_answers(
            [tuple(each[name].answer for name in names) for each in complete], both
        ),
    )


def _share_of_same_answers(
    answers: Sequence[tuple[str | None, ...]], both_wrong: Flags
) -> float | None:
    answered = [
        first == second
        for (first, second), is_wrong in zip(answers, both_wrong, strict=True)
        if is_wrong and first is not None and second is not None
    ]
    return 100 * sum(answered) / len(answered) if answered else None


def _mean_percent(values: Flags) -> float:
    return 100 * float(values.mean())


def _percent_interval(values: Flags) -> Interval | None:
    return mean_interval(100.0 * values, (0, 100))
