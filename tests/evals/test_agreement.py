"""How far two judges agree."""

import random

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from moa_graph.evals.agreement import measure_agreement
from moa_graph.evals.benchmarks.registry import benchmark_for

VERDICTS = benchmark_for("alpaca_eval").rating_scale
GRADES = benchmark_for("mt_bench").rating_scale
JUDGES = ("a", "b")


def ratings(values, system="s"):
    return {(system, number, "verdict"): value for number, value in enumerate(values)}


def draw(scale, count, seed, likeness):
    """Two judges who say the same by `likeness`, else anything."""
    chance = random.Random(seed)
    first = [chance.choice(scale.values) for _ in range(count)]
    second = [one if chance.random() < likeness else chance.choice(scale.values) for one in first]
    return first, second


def test_kappa_of_a_table_worked_out_by_hand():
    # 20 wins and 15 losses of both, 5 and 10 split: 0.7 the same; by chance 0.5 x 0.6 + 0.5 x 0.4.
    first = [1] * 25 + [-1] * 25
    second = [1] * 20 + [-1] * 5 + [1] * 10 + [-1] * 15
    found = measure_agreement(JUDGES, ratings(first), ratings(second), VERDICTS)
    assert (found.same, found.weights) == (0.7, "none")
    assert found.kappa == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert found.low < found.kappa < found.high


def test_grades_weigh_by_the_square_of_their_distance():
    # Squares of distances: 0, 1, 4.
    first, second = [1, 2, 3], [1, 3, 5]
    by_chance = np.mean([(one - other) ** 2 for one in first for other in second])
    found = measure_agreement(JUDGES, ratings(first), ratings(second), GRADES)
    assert found.weights == "quadratic"
    assert found.kappa == pytest.approx(1 - ((0 + 1 + 4) / 3) / by_chance)


@pytest.mark.parametrize("scale", [VERDICTS, GRADES], ids=["verdicts", "grades"])
def test_interval_is_that_of_kappas_of_resampled_instructions(scale):
    first, second = draw(scale, 60, 1, 0.5)
    found = measure_agreement(JUDGES, ratings(first), ratings(second), scale, resamples=200, seed=3)
    draws = np.random.default_rng(3).multinomial(60, np.full(60, 1 / 60), 200)
    weights = "quadratic" if scale.is_graded else None
    kappas = [
        cohen_kappa_score(
            first, second, labels=list(scale.values), weights=weights, sample_weight=each
        )
        for each in draws
    ]
    assert found.kappa == pytest.approx(
        cohen_kappa_score(first, second, labels=list(scale.values), weights=weights)
    )
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(kappas, [2.5, 97.5])))


def test_interval_covers_the_kappa_of_many_about_as_often_as_it_says():
    true = 0.6  # verdicts drawn alike: kappa is the share of those that are copied
    found = [
        measure_agreement(JUDGES, *map(ratings, draw(VERDICTS, 100, seed, true)), VERDICTS)
        for seed in range(100)
    ]
    covered = np.mean([each.low <= true <= each.high for each in found])
    assert 0.9 <= covered <= 0.99


def test_several_systems_on_an_instruction_are_no_more_instructions():
    first, second = draw(VERDICTS, 40, 5, 0.5)
    one = measure_agreement(JUDGES, ratings(first), ratings(second), VERDICTS)
    copies = [
        {key: value for name in "xyz" for key, value in ratings(each, name).items()}
        for each in (first, second)
    ]
    three = measure_agreement(JUDGES, *copies, VERDICTS)
    assert (three.ratings, three.instructions) == (120, 40)
    assert (three.kappa, three.low, three.high) == pytest.approx((one.kappa, one.low, one.high))


def test_only_what_both_judged_counts():
    first, second = ratings([1, -1, 1, 0]), ratings([1, -1, -1])
    found = measure_agreement(JUDGES, first, second, VERDICTS)
    assert (found.ratings, found.same) == (3, pytest.approx(2 / 3))
    assert measure_agreement(JUDGES, first, {}, VERDICTS) is None


def test_judges_who_never_vary_have_no_kappa():
    found = measure_agreement(JUDGES, ratings([1] * 5), ratings([1] * 5), VERDICTS)
    assert (found.same, found.kappa, found.low) == (1, None, None)


def test_one_instruction_has_no_interval():
    found = measure_agreement(JUDGES, ratings([1]), ratings([-1]), VERDICTS)
    assert (found.kappa, found.low, found.high) == (0, None, None)


def test_the_same_seed_gives_the_same_interval():
    pair = [ratings(each) for each in draw(GRADES, 30, 2, 0.3)]
    assert measure_agreement(JUDGES, *pair, GRADES) == measure_agreement(JUDGES, *pair, GRADES)


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("alpaca_eval", {"preference": 1.51}, {"verdict": 1}),
        ("alpaca_eval", {"preference": 1.5}, {"verdict": 0}),
        ("alpaca_eval", {"preference": 1.2}, {"verdict": -1}),
        ("mt_bench", {"turn": 2, "score": 7.5}, {"turn 2": 8}),
        ("mt_bench", {"turn": 1, "score": 0}, {"turn 1": 1}),
        ("flask", {"scores": {"factuality": 4.2, "harmlessness": None}}, {"factuality": 4}),
    ],
)
def test_judgements_are_read_as_ratings_of_the_benchmarks_scale(name, row, expected):
    assert benchmark_for(name).list_ratings(row) == expected
