"""The interval of one system's mean covers what it says."""

import numpy as np
import pytest

from moa_graph.evals.intervals import mean_interval

RATINGS, CHANCES = np.arange(1, 11), np.array([0, 0, 0, 0, 2, 3, 5, 10, 30, 50]) / 100


def draw_wins(rng, count):
    return 100.0 * (rng.random(count) < 0.8)


def draw_clear_wins(rng, count):
    return 100.0 * (rng.random(count) < 0.95)


def draw_preferences(rng, count):
    return 100 * rng.beta(0.3, 0.3, count)


def draw_ratings(rng, count):
    return rng.choice(RATINGS, count, p=CHANCES).astype(float)


@pytest.mark.parametrize("count", [5, 20, 80])
@pytest.mark.parametrize(
    ("draw", "mean", "bounds"),
    [
        (draw_wins, 80, (0, 100)),
        (draw_clear_wins, 95, (0, 100)),
        (draw_preferences, 50, (0, 100)),
        (draw_ratings, float(RATINGS @ CHANCES), (0, 10)),
    ],
)
def test_interval_covers_the_mean_as_often_as_it_says(draw, mean, bounds, count):
    rng = np.random.default_rng(0)
    intervals = [mean_interval(draw(rng, count), bounds) for _ in range(1000)]
    covered = np.mean([low <= mean <= high for low, high in intervals])
    assert covered >= 0.93  # of 0.95; three standard errors of 1,000 draws are 0.02


def test_interval_without_bounds_is_students():
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(3, 2, 6)) for _ in range(1000)]
    assert np.mean([low <= 3 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


def test_all_wins_leave_room_for_a_loss_that_was_not_seen():
    low, high = mean_interval([100.0] * 10, (0, 100))
    assert (low < 75, high) == (True, 100)


def test_interval_stays_between_the_bounds():
    low, high = mean_interval([0.0, 0, 0, 5], (0, 100))
    assert 0 <= low < high <= 100


def test_many_alike_scores_are_told_more_exactly_than_few():
    widths = [np.ptp(mean_interval([50.0] * count, (0, 100))) for count in (4, 40, 400)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 1


def test_single_instruction_has_no_interval():
    assert mean_interval([3.0]) is None


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1, 2], {"confidence": 1.0}, "`confidence`=1.0: expected a number between 0 and 1"),
        ([1, 200], {"bounds": (0, 100)}, "`values`: expected scores between the bounds"),
        ([], {}, "`values`: expected at least one row"),
    ],
)
def test_impossible_values_are_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(values, **options)
