"""MT-Bench, FLASK, and whether a difference is more than noise."""

import json
import math

import numpy as np
import pytest
from evaldata import FOLDER, needs_evaldata, read_lines

from moa_graph.evals.benchmarks.flask.score import SKILLS, flask_score, parse_review
from moa_graph.evals.benchmarks.mt_bench.score import extract_score, mt_bench_score
from moa_graph.evals.statistics import compare, paired_bootstrap, paired_test


@pytest.mark.parametrize(
    ("judgement", "score"),
    [
        ("Clear and right. Rating: [[8]]", 8),
        ("Rating: [[7.5]]", 7.5),
        ("Rating: [[7.]]", 7),
        ("First [[3]], then [[9]]", 3),
        ("Rating: [6]", 6),
        ("See [1]. Rating: [[10]]", 10),
        ("Rating: [[0]]", 0),
        ("Rating: 8", -1),
        ("Rating: [[8/10]]", -1),
        ("Rating: [[eight]]", -1),
        ("As Smith showed [2023]", -1),
        ("", -1),
    ],
)
def test_rating_is_found(judgement, score):
    assert extract_score(judgement) == score


@pytest.mark.parametrize(
    "text", ["[[" + "1" * 200_000, "[" * 200_000, "{" * 200_000, "{'" * 99_999]
)
def test_hostile_judgement_has_no_score(text):
    assert extract_score(text) == -1
    assert parse_review(text) == {}
    assert parse_review(text + "}") == {}


def test_mt_bench_averages():
    found = mt_bench_score(
        [8, 6, 10, -1, 4, None], [1, 2, 1, 2, 1, 2], ["math", "math", "stem", "stem", "math", "art"]
    )
    assert found.first_turn == pytest.approx(22 / 3)
    assert found.second_turn == 6
    assert found.both == 7
    assert found.categories == {"math": 6, "stem": 10, "art": None}
    assert list(found.categories) == ["math", "stem", "art"]
    assert (found.rated, found.dropped) == (4, 2)


def test_mt_bench_without_second_turns_has_no_average_of_them():
    found = mt_bench_score(np.array([5, 7]), np.array([1, 1]), ["math", "stem"])
    assert (found.first_turn, found.second_turn, found.both) == (6, None, 6)


@needs_evaldata
def test_mt_bench_has_eight_categories():
    questions = read_lines("mtbench_question.jsonl")
    rows = [(question["category"], turn) for question in questions for turn in (1, 2)]
    categories, turns = zip(*rows, strict=True)
    found = mt_bench_score([9 if turn == 1 else 8 for turn in turns], turns, categories)
    assert (found.first_turn, found.second_turn, found.both) == (9, 8, 8.5)
    assert set(found.categories.values()) == {8.5}
    assert (len(found.categories), found.rated) == (8, 160)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([5], [1, 2], ["a"]), "`scores` has 1, `turns` has 2, `categories` has 1"),
        (([5], [3], ["a"]), "`turns`: expected 1 or 2, got"),
        (([11], [1], ["a"]), "`scores`: expected 0 to 10, got 11.0 in row 0"),
        (([-2], [1], ["a"]), "`scores`: expected 0 to 10, got -2.0 in row 0"),
        (([], [], []), "`scores`: expected at least one row"),
    ],
)
def test_bad_ratings_are_named(columns, message):
    with pytest.raises(ValueError, match=message):
        mt_bench_score(*columns)


@pytest.mark.parametrize(
    ("review", "scores"),
    [
        (
            "Good.\n{'Logical Robustness': 4, 'Factuality': 5,\n 'Readability': 3}",
            {"robustness": 4, "factuality": 5, "readability": 3},
        ),
        ('First {"Factuality": 1}, on reflection {"Factuality": 2}. Done.', {"factuality": 2}),
        (
            "{'commonsense_understanding': '4', 'METACOGNITION': 5.0}",
            {"commonsense": 4, "metacognition": 5},
        ),
        (
            "{'Harmlessness': 'N/A', 'Completeness': 'Not Applicable', 'Conciseness': 'NA'}",
            {"harmlessness": None, "completeness": None, "conciseness": None},
        ),
        ("{'Logical Efficiency': 'good', 'Comprehension': 3}", {"comprehension": 3}),
        ("{'Comprehension': 6, 'Readability': 0, 'Conciseness': [1]}", {}),
        ("{'Elegance': 4, 'Readability': 2, 3: 4, 'logical': 5}", {"readability": 2}),
        ("{'Readability': nan}", {}),
        ("{'Readability': 4", {}),
        ("{4, 5, 3}", {}),
        ("{__import__('os').abort(): 3}", {}),
        ("I score it 4 of 5.", {}),
        ("", {}),
    ],
)
def test_review_is_read(review, scores):
    assert parse_review(review) == scores


def test_flask_means():
    found = flask_score(
        [
            {"factuality": 4, "robustness": 2, "readability": None},
            {"factuality": 5, "readability": 3},
            {},
        ],
        [["Math", "Coding"], ["Math"], ["History"]],
        ["expert", "simple", "simple"],
    )
    assert found.skills == {"robustness": 2, "factuality": 4.5, "readability": 3}
    assert list(found.skills) == ["robustness", "factuality", "readability"]
    assert found.domains == {"Math": 3.5, "Coding": 3}
    assert found.difficulties == {"expert": 3, "simple": 4}
    assert (found.scored, found.not_applicable) == (4, 1)
    assert (found.failures, found.incomplete) == (1, 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([{}], [], ["simple"]), "`scores` has 1, `domains` has 0, `difficulties` has 1"),
        (
            ([{}], ["Math"], ["simple"]),
            "`domains`: expected a list for each instruction, got 'Math'",
        ),
    ],
)
def test_bad_flask_columns_are_named(columns, message):
    with pytest.raises(ValueError, match=message):
        flask_score(*columns)


@needs_evaldata
def test_every_skill_of_flask_is_read():
    rows = read_lines("flask_hard.jsonl")
    reviews = [json.dumps(dict.fromkeys(row["skill"], 4)) for row in rows]
    found = flask_score(
        [parse_review(review) for review in reviews],
        [row["domain"] for row in rows],
        [row["difficulty"] for row in rows],
    )
    told = json.loads((FOLDER / "flask_skillset_description.json").read_text("utf-8"))
    assert found.skills == dict.fromkeys(SKILLS, 4)
    assert len(told) == len(SKILLS) == 12
    assert set(found.domains.values()) == set(found.difficulties.values()) == {4}
    assert "-1" not in found.domains
    assert (found.scored, found.failures, found.incomplete) == (3 * 89, 0, 0)


def scores(mean, *, rows=200, spread=1.0, seed=1):
    return mean + np.random.default_rng(seed).normal(0, spread, rows)


def keyed(column):
    return {f"instruction {row}": value for row, value in enumerate(column)}


def test_clear_difference_is_called_better():
    base = scores(50, spread=20)
    found = compare(keyed(base + scores(3)), keyed(base), names=("MoA", "GPT-4o"))
    assert found.better == "MoA"
    assert found.low < found.difference < found.high
    assert found.verdict.startswith("MoA is better than GPT-4o by 2.93 (95 % interval 2.8 to 3.05")
    assert found.verdict.endswith("p < 0.001, 200 instructions)")


def test_the_better_may_be_the_second():
    base = scores(50, spread=20)
    one, other = keyed(base), keyed(base + scores(3))
    found, mirrored = compare(one, other), compare(other, one, names=("B", "A"))
    assert found.better == mirrored.better == "B"
    assert found.difference == -mirrored.difference
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=0.05)
    assert found.verdict.startswith("B is better than A by 2.93 (95 % interval 2.8 to 3.05")


def test_small_difference_is_inside_the_noise():
    found = compare(keyed(scores(0.02)), keyed(scores(0, seed=2)))
    assert found.better is None
    assert found.low < 0 < found.high
    assert found.verdict.startswith("within the noise: ")


def test_same_scores_are_level():
    found = compare(keyed([1, 2, 3]), keyed([1, 2, 3]))
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.verdict.startswith("within the noise: A and B are level (95 % interval 0 to 0")


def test_equal_scores_between_bounds_leave_room_for_a_difference():
    found = compare(keyed([100.0] * 12), keyed([100.0] * 12), bounds=(0, 100))
    assert found.difference == 0
    assert found.low == -found.high
    assert 15 < found.high < 20
    wider = compare(keyed([100.0] * 12), keyed([100.0] * 12), bounds=(0, 100), confidence=0.99)
    assert wider.high > found.high


def test_few_instructions_prove_nothing():
    found = compare(keyed([2, 3, 4]), keyed([1, 2, 3]))
    assert found.low == found.high == 1
    assert found.p_value == 0.25  # 2 of the 8 ways to give three differences a sign
    assert found.better is None


@pytest.mark.parametrize("rows", [8, 20, 805])
def test_one_instruction_that_differs_proves_nothing(rows):
    found = compare(keyed([1.0] + [0.0] * (rows - 1)), keyed([0.0] * rows))
    assert found.p_value == 1
    assert found.better is None


def test_ties_leave_p_as_it_is_without_them():
    ups = [1.0, 2.0, 3.0, -4.0]
    exact = paired_test(ups, [0.0] * 4)
    assert exact == 14 / 16  # ±1 ±2 ±3 ±4 sum up to 0 in two ways, else to 2 at least
    assert paired_test(ups + [0.0] * 8, [0.0] * 12) == exact


def test_ends_of_an_interval_are_never_minus_zero():
    verdict = compare(keyed([0.0] * 10), keyed([2.0] + [0.0] * 9)).verdict
    assert "interval 0 to " in verdict


def test_instructions_are_matched_by_their_id():
    one = {"a": 1.0, "b": 5.0, "c": 3.0, "only here": 100.0, "unread": None}
    other = {"c": 3.0, "b": 4.0, "a": 1.0, "unread": 7.0}
    found = compare(one, other)
    assert found.difference == pytest.approx(1 / 3)
    assert (found.instructions, found.unmatched) == (3, 2)
    assert "3 instructions, 2 left out" in found.verdict


def test_same_seed_gives_the_same_figures():
    one, other = keyed(scores(1)), keyed(scores(0.9, seed=2))
    assert compare(one, other) == compare(one, other)
    assert compare(one, other) != compare(one, other, seed=1)


def test_interval_is_that_of_the_mean():
    column = scores(1, rows=805)
    low, high = paired_bootstrap(column, np.zeros(805))
    error = 1.96 * column.std(ddof=1) / math.sqrt(805)
    assert low == pytest.approx(column.mean() - error, abs=0.01)
    assert high == pytest.approx(column.mean() + error, abs=0.01)


def test_test_finds_nothing_in_noise_as_often_as_it_says():
    draws = np.random.default_rng(5).normal(0, 1, (200, 12))
    found = [paired_test(draw, np.zeros(12), resamples=199) for draw in draws]
    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare({1: 1.0}, {1: 2.0}), "at least 2 instructions with both scores, got 1"),
        (lambda: compare({1: 1.0}, {2: 2.0}), "at least 2 instructions with both scores, got 0"),
        (lambda: compare({}, {1: 2.0}), "`first`: expected at least one row"),
        (lambda: compare({1: 1, 2: 2}, {1: 1, 2: 2}, confidence=95), "`confidence`: .* got 95"),
        (lambda: compare({1: 1, 2: 2}, {1: 1, 2: 2}, resamples=0), "`resamples`: .* got 0"),
        (lambda: paired_test([1, 2], [1]), "`first` has 2, `second` has 1"),
        (lambda: paired_test([1], [1]), "at least 2 instructions, got 1"),
        (lambda: paired_bootstrap([1, math.nan], [1, 2]), "`first`: expected a finite number"),
    ],
)
def test_bad_comparisons_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
