"""Judges of known leanings: the report finds what they are."""

import random
from math import isnan

import pytest
from evaldata import needs_evaldata, read_lines

from moa_graph.evals.judge_bias import measure_length_bias, measure_position_bias
from moa_graph.evals.ratings import AnswerComparison, Reading

COUNT = 800


def compare(judge, *, both_orders, count=COUNT, better=0.5, seed=0):
    """Have a judge compare answers; each is the better one by a chance of its own.

    A judge gets which answer is better, which is longer, and which is first: 1 for the system's.
    """
    chance = random.Random(seed)
    found = []
    for item in range(count):
        is_better, lengths = chance.random() < better, (chance.randint(1, 99), 50.5)
        is_longer, drawn = lengths[0] > lengths[1], chance.random() < 0.5
        places = (False, True) if both_orders else (drawn,)
        readings = [Reading(place, float(judge(is_better, is_longer, place))) for place in places]
        preference = sum(each.preference for each in readings) / len(readings)
        found.append((item, AnswerComparison(preference, *lengths, readings)))
    return found


def fair(is_better, is_longer, is_first):
    return is_better


def always_first(is_better, is_longer, is_first):
    return is_first


def always_longer(is_better, is_longer, is_first):
    return is_longer


@pytest.mark.parametrize("both_orders", [True, False])
def test_judge_that_always_prefers_the_first(both_orders):
    bias = measure_position_bias("j", compare(always_first, both_orders=both_orders))
    assert bias.both_orders == both_orders
    assert bias.prefers_first.value == 1
    assert bias.prefers_first.low > 0.99
    assert (bias.win_rate_first.value, bias.win_rate_second.value) == (1, 0)
    if both_orders:
        assert (bias.consistent.value, bias.first_in_both.value) == (0, 1)
        assert bias.second_in_both.value == 0
    else:
        assert bias.consistent is None


@pytest.mark.parametrize("both_orders", [True, False])
@pytest.mark.parametrize("better", [0.5, 0.9])
def test_judge_without_a_leaning_to_a_place_has_half(both_orders, better):
    comparisons = compare(fair, both_orders=both_orders, better=better)
    bias = measure_position_bias("j", comparisons)
    assert bias.prefers_first.low <= 0.5 <= bias.prefers_first.high
    if both_orders:
        assert (bias.prefers_first.value, bias.consistent.value) == (0.5, 1)


@pytest.mark.parametrize("both_orders", [True, False])
def test_judge_that_takes_the_first_of_three_in_ten(both_orders):
    chance = random.Random(1)

    def judge(is_better, is_longer, is_first):
        return is_first if chance.random() < 0.3 else is_better

    bias = measure_position_bias("j", compare(judge, both_orders=both_orders))
    assert bias.prefers_first.low <= 0.65 <= bias.prefers_first.high
    assert bias.prefers_first.low > 0.5


@pytest.mark.parametrize("both_orders", [True, False])
def test_interval_of_a_fair_judge_covers_half_as_often_as_it_says(both_orders):
    found = [
        measure_position_bias(
            "j", compare(noisy(seed), both_orders=both_orders, count=60, better=0.8, seed=seed)
        ).prefers_first
        for seed in range(400)
    ]
    covered = sum(each.low <= 0.5 <= each.high for each in found) / len(found)
    assert 0.92 <= covered <= 0.995


def noisy(seed):
    """A judge that errs in a fifth of what it reads, whatever stands first."""
    chance = random.Random(seed)
    return lambda is_better, is_longer, is_first: is_better != (chance.random() < 0.2)


def test_answers_that_no_judge_was_asked_about_do_not_count():
    tie = AnswerComparison(0.5, 10, 10)
    assert measure_position_bias("j", [(0, tie)]) is None
    found = measure_position_bias("j", [*compare(always_first, both_orders=True), (-1, tie)])
    assert found.consistent.instructions == COUNT


def test_systems_that_share_instructions_are_no_more_instructions():
    comparisons = compare(noisy(0), both_orders=False)
    one = measure_position_bias("j", comparisons)
    assert measure_position_bias("j", [*comparisons, *comparisons]) == one


def measure_length(judge, better=0.5):
    comparisons = dict(compare(judge, both_orders=True, better=better))
    return measure_length_bias("j", "s", {}, {}, comparisons)


def test_judge_that_always_prefers_the_longer():
    bias = measure_length(always_longer)
    assert bias.prefers_longer.value == 1
    assert (bias.win_rate_longer.value, bias.win_rate_shorter.value) == (1, 0)
    assert bias.rank_correlation.value == pytest.approx(0.87, abs=0.02)  # two ranks against many
    assert bias.rank_correlation.low > 0.8


@pytest.mark.parametrize("better", [0.5, 0.9])
def test_judge_without_a_leaning_to_length_has_half(better):
    bias = measure_length(fair, better)
    assert bias.prefers_longer.low <= 0.5 <= bias.prefers_longer.high
    assert bias.rank_correlation.low <= 0 <= bias.rank_correlation.high


def test_answers_that_are_all_shorter_say_nothing_of_the_longer():
    comparisons = {
        item: each._replace(length=1, other_length=2)
        for item, each in compare(fair, both_orders=True, count=50)
    }
    bias = measure_length_bias("j", "s", {}, {}, comparisons)
    assert bias.is_comparison
    assert (bias.prefers_longer, bias.win_rate_longer) == (None, None)
    assert bias.win_rate_shorter.instructions == 50


def test_grades_are_held_against_the_length_of_answers():
    scores, lengths = {n: n // 10 for n in range(100)}, {n: 5 * n for n in range(100)}
    bias = measure_length_bias("j", "s", scores, lengths, {})
    assert not bias.is_comparison
    assert bias.rank_correlation.value == pytest.approx(0.995, abs=0.005)
    assert bias.rank_correlation.instructions == 100
    alike = measure_length_bias("j", "s", dict.fromkeys(scores, 3), lengths, {})
    assert alike.rank_correlation is None


def test_interval_of_a_rank_correlation_covers_what_it_says():
    chance, found = random.Random(0), []
    for _ in range(400):
        scores, lengths = ({n: chance.random() for n in range(40)} for _ in range(2))
        found.append(measure_length_bias("j", "s", scores, lengths, {}).rank_correlation)
    covered = sum(each.low <= 0 <= each.high for each in found) / len(found)
    assert covered == pytest.approx(0.95, abs=0.035)


@needs_evaldata
def test_gpt_4_prefers_longer_answers_of_each_published_model():
    """What AlpacaEval's length control is for: its published weights of length say so, too."""
    correlations = []
    for model in read_lines("preferences.jsonl.gz"):
        if model["model"] == "gpt4_1106_preview":  # the reference itself
            continue
        rows = zip(model["preference"], model["len_model"], model["len_ref"], strict=True)
        comparisons = {
            number: AnswerComparison(
                preference - 1, length, other, [Reading(is_first=True, preference=preference - 1)]
            )
            for number, (preference, length, other) in enumerate(rows)
            if preference is not None and not isnan(preference)
        }
        bias = measure_length_bias("gpt-4", model["model"], {}, {}, comparisons)
        assert bias.rank_correlation.low > 0, model["model"]
        assert bias.prefers_longer.value > 0.5, model["model"]
        assert model["coef"]["phi_len"] < 0
        correlations.append(round(bias.rank_correlation.value, 2))
    told = (len(correlations), min(correlations), max(correlations))
    assert told == (36, 0.14, 0.37), "docs/evaluation-judges.md"
