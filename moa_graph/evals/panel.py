"""Several judges of a benchmark: their figures, agreement and bias."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from moa_graph.evals.agreement import Agreement, Ratings, measure_agreement
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.judge_bias import (
    LengthBias,
    PositionBias,
    measure_length_bias,
    measure_position_bias,
)
from moa_graph.evals.ratings import AnswerComparison
from moa_graph.evals.scoring import QualityInterval, SystemScore, average_quality, have_headline

POSITION_NOTE = (
    "A judge reads two answers in both orders, or in a random one. An effect of the position "
    "therefore comes from the judge."
)
LENGTH_NOTE = (
    "The length of an answer is not random: longer answers may be better, and a correlation does "
    "not prove a bias. Two judges of the same answers show which of them follows length more."
)


@dataclass(frozen=True)
class JudgePanel:
    """The judgements of several judges on the systems of a benchmark."""

    benchmark: str
    qualities: Mapping[str, Mapping[str, QualityInterval]]
    """Scores by judge, in order, and by system."""
    combined: Mapping[str, QualityInterval]
    """Mean of the judges on their common instructions, by system that all judged; empty for a
    single judge."""
    labels: Mapping[str, Sequence[str]]
    """Labels that must accompany figures, by judge."""
    agreements: Sequence[Agreement]
    """Agreement of each pair of judges."""
    positions: Sequence[PositionBias]
    """Position bias of each judge that compares answers."""
    lengths: Sequence[LengthBias]
    """Length bias of each judge for each system."""

    @property
    def judges(self) -> list[str]:
        """The judges, in order."""
        return list(self.qualities)

    @property
    def systems(self) -> list[str]:
        """The judged systems."""
        return list(dict.fromkeys(name for each in self.qualities.values() for name in each))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        combined = {name: each._asdict() for name, each in self.combined.items()}
        return {
            "benchmark": self.benchmark,
            "quality": {
                judge: {name: each._asdict() for name, each in by_system.items()}
                for judge, by_system in self.qualities.items()
            },
            "mean_of_judges": combined or None,
            "labels": {judge: list(labels) for judge, labels in self.labels.items()},
            "agreement": [asdict(each) for each in self.agreements],
            "position": [_plain(each) for each in self.positions],
            "length": [_plain(each) for each in self.lengths],
            "notes": self.notes,
        }

    @property
    def notes(self) -> list[str]:
        """Explanations of the figures of position and length."""
        notes = [POSITION_NOTE] if self.positions else []
        return [*notes, LENGTH_NOTE] if self.lengths else notes


def build_panel(scores: Sequence[SystemScore]) -> JudgePanel:
    """Build the panel from the scores of systems.

    Args:
        scores: Scores of each system by each judge, the first judge first.
    """
    benchmark = scores[0].benchmark
    by_judge = _group_by_judge(scores)
    is_headline = have_headline(scores)
    return JudgePanel(
        benchmark,
        {
            judge: {
                each.system: each.estimate_quality(is_headline=is_headline) for each in of_judge
            }
            for judge, of_judge in by_judge.items()
        },
        _combine_judges(by_judge, is_headline=is_headline),
        {
            judge: list(dict.fromkeys(label for each in of_judge for label in each.labels))
            for judge, of_judge in by_judge.items()
        },
        _measure_agreements(scores[0].protocol, by_judge),
        [
            bias
            for judge, of_judge in by_judge.items()
            if (bias := measure_position_bias(judge, _list_comparisons(of_judge)))
        ],
        [_measure_length(each) for of_judge in by_judge.values() for each in of_judge],
    )


def _group_by_judge(scores: Sequence[SystemScore]) -> dict[str, list[SystemScore]]:
    by_judge = defaultdict[str, list[SystemScore]](list)
    for each in scores:
        by_judge[each.judge].append(each)
    return dict(by_judge)


def _combine_judges(
    by_judge: Mapping[str, Sequence[SystemScore]], *, is_headline: bool
) -> dict[str, QualityInterval]:
    by_system = defaultdict[str, list[SystemScore]](list)
    for each in (score for scores in by_judge.values() for score in scores):
        by_system[each.system].append(each)
    return {
        system: quality
        for system, scores in by_system.items()
        if len(by_judge) > 1 and len(scores) == len(by_judge)
        if (quality := average_quality(scores, is_headline=is_headline))
    }


def _measure_agreements(
    benchmark: Benchmark, by_judge: Mapping[str, Sequence[SystemScore]]
) -> list[Agreement]:
    if (scale := benchmark.rating_scale) is None:
        return []
    ratings = {judge: _collect_ratings(scores) for judge, scores in by_judge.items()}
    measured = (
        measure_agreement(pair, ratings[pair[0]], ratings[pair[1]], scale)
        for pair in combinations(ratings, 2)
    )
    return [each for each in measured if each]


def _collect_ratings(scores: Sequence[SystemScore]) -> Ratings:
    return {
        (score.system, row["id"], part): rating
        for score in scores
        for row in score.judged
        for part, rating in score.protocol.list_ratings(row).items()
    }


def _list_comparisons(scores: Sequence[SystemScore]) -> list[tuple[str | int, AnswerComparison]]:
    return [item for score in scores for item in _read_comparisons(score).items()]


def _read_comparisons(score: SystemScore) -> dict[str | int, AnswerComparison]:
    benchmark = score.protocol
    compared = ((row["id"], benchmark.read_comparison(row)) for row in score.judged)
    return {item: comparison for item, comparison in compared if comparison}


def _measure_length(score: SystemScore) -> LengthBias:
    return measure_length_bias(
        score.judge,
        score.system,
        score.by_instruction,
        score.answer_lengths,
        _read_comparisons(score),
    )


def _plain(bias: PositionBias | LengthBias) -> dict[str, Any]:
    """Return a bias as plain data."""
    values = ((name, getattr(bias, name)) for name in bias.__dataclass_fields__)
    return {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in values}
