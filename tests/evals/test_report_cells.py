"""How figures stand in the cells of a report."""

import math

import pytest

from moa_graph.evals.benchmarks.formatting import format_cost, format_with_error
from moa_graph.evals.data import read_table
from moa_graph.evals.report.cells import format_published


@pytest.mark.parametrize(
    ("table", "system", "column", "text"),
    [
        ("table_2a", "MoA-Lite", "win_rate", "57.0 ± 0.7"),
        ("table_2a", "GPT-4 Preview (11/06)", "lc_win_rate", "50.0"),
        ("table_2b", "MoA w/ GPT-4o", "average", "9.40 ± 0.06"),
        ("table_2b", "MoA", "average", "9.25 ± 0.10"),
        ("table_8", "Qwen1.5-110B-Chat", "layers_1", "0.500"),
        ("figure_5", "MoA", "teraflops", "245"),
        ("figure_5", "MoA", "cost", "0.031"),
    ],
)
def test_published_figures_have_the_decimals_of_the_paper(table, system, column, text):
    rows = read_table("published")[table]
    (row,) = (each for each in rows["rows"] if each["system"] == system)
    assert format_published(rows, row, column) == text


def test_error_that_is_not_known_is_not_written():
    assert format_with_error(57.04, math.nan) == "57.0"
    assert format_with_error(57.04, 1.26) == "57.0 ± 1.3"


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (0, "$0"),
        (3e-7, "$3.0e-07"),
        (0.00001, "$0.00001"),
        (0.000186, "$0.000186"),
        (12.345, "$12.3"),
        (2345.6, "$2,346"),
    ],
)
def test_dollars_have_three_digits_and_hardly_ever_an_exponent(dollars, text):
    assert format_cost(dollars) == text
