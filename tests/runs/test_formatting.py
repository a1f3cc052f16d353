"""How seconds and money are written."""

import pytest

from moa_graph.runs.formatting import (
    format_about_seconds,
    format_cost,
    format_dollars,
    format_seconds,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (59.9, "59.9 s"),
        (65, "1 min 05 s"),
        (7195, "119 min 55 s"),
        (3 * 3600 + 300, "3 h 05 min"),
    ],
)
def test_duration_has_a_unit_that_fits_it(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (45, "45 s"), (754, "12 min"), (11100, "3 h 05 min")]
)
def test_guess_of_a_duration_is_rounded(seconds, text):
    assert format_about_seconds(seconds) == text


@pytest.mark.parametrize(
    ("dollars", "text"), [(0.00001, "<$0.0001"), (0.0021, "~$0.0021"), (12.5, "~$12.50")]
)
def test_estimate_of_a_cost_is_marked(dollars, text):
    assert format_cost(dollars) == text


@pytest.mark.parametrize(
    ("dollars", "text"), [(0, "$0.00"), (0.5, "$0.5000"), (1234.5, "$1,234.50")]
)
def test_amount_of_money_is_exact(dollars, text):
    assert format_dollars(dollars) == text
