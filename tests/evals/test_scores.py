"""AlpacaEval 2.0: preferences and win rates.

`data/alpaca_eval.json` holds invented judgements and what the official package makes of them.
"""

import csv
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sklearn
from evaldata import FOLDER, needs_evaldata, read_lines
from hypothesis import given
from hypothesis import strategies as st

from moa_graph.evals.benchmarks.alpaca_eval.score import (
    LengthControlled,
    is_switched,
    length_controlled_win_rate,
    predict_length_controlled,
    preference_from_logprobs,
    tie_without_judging,
    win_rate,
)

OFFICIAL = json.loads((Path(__file__).parents[1] / "data" / "alpaca_eval.json").read_text("utf-8"))
MODELS = OFFICIAL["models"]
PAPER = ("Together-MoA", "Together-MoA-Lite", "gpt-4o-2024-05-13", "Qwen1.5-110B-Chat")
PAPER += ("Qwen1.5-72B-Chat",)


def fit(model="even", **changed):
    arguments = {
        **{name: column for name, column in MODELS[model].items() if name != "official"},
        "difficulty": OFFICIAL["difficulty"],
        "gamed_baselines": OFFICIAL["gamed_baselines"],
    }
    return length_controlled_win_rate(**(arguments | changed))


def first(rows, **changed):
    """Fit to the first rows only."""
    columns = {name: MODELS["even"][name][:rows] for name in MODELS["even"] if name != "official"}
    return fit(**({**columns, "difficulty": OFFICIAL["difficulty"][:rows]} | changed))


def gamed(rows):
    return {name: column[:rows] for name, column in OFFICIAL["gamed_baselines"].items()}


@pytest.mark.parametrize("name", MODELS)
def test_invented_models_have_the_official_win_rates(name):
    found, official = win_rate(MODELS[name]["preferences"]), MODELS[name]["official"]
    assert found.win_rate == pytest.approx(official["win_rate"], abs=1e-9)
    assert found.standard_error == pytest.approx(official["standard_error"], abs=1e-9)
    assert found.discrete_win_rate == pytest.approx(official["discrete_win_rate"], abs=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_invented_models_have_the_official_length_controlled_win_rates(name):
    found, official = fit(name), MODELS[name]["official"]
    assert found.win_rate == pytest.approx(official["length_controlled_winrate"], abs=1e-6)
    assert found.standard_error == pytest.approx(official["lc_standard_error"], abs=1e-6)
    weights = [found.phi, found.psi, found.theta]
    assert weights == pytest.approx(official["weights"], abs=1e-6)


@pytest.fixture(scope="module")
def published():
    return {row["model"]: row for row in read_lines("preferences.jsonl.gz")}


@pytest.fixture(scope="module")
def gamed_table():
    with (FOLDER / "gamed_baselines_synthetic.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    names = ("index", "preference", "std_delta_len", "instruction_difficulty")
    return {name: [float(row[name]) for row in rows] for name in names}


@needs_evaldata
def test_win_rates_are_the_published_ones(published):
    assert len(published) == 37
    for model in published.values():
        found, told = win_rate(model["preference"]), model["published"]
        assert found.win_rate == pytest.approx(told["win_rate"], abs=1e-9)
        assert found.standard_error == pytest.approx(told["standard_error"], abs=1e-9)
        assert found.discrete_win_rate == pytest.approx(told["discrete"], abs=1e-9)


@pytest.mark.slow
@needs_evaldata
def test_length_controlled_win_rates_are_the_official_ones(published, gamed_table):
    difficulties = dict(
        zip(gamed_table["index"], gamed_table["instruction_difficulty"], strict=True)
    )
    wanted = json.loads((FOLDER / "lc_parity.json").read_text("utf-8"))["models"]
    assert len(wanted) == 36
    for name, official in wanted.items():
        model = published[name]
        # The official package counts rows, also where some are missing and the difficulties
        # therefore are those of other instructions.
        difficulty = [difficulties[row] for row in range(len(model["preference"]))]
        found = length_controlled_win_rate(
            model["preference"], model["len_model"], model["len_ref"], difficulty, gamed_table
        )
        assert found.win_rate == pytest.approx(official["length_controlled_winrate"], abs=1e-6)
        assert found.standard_error == pytest.approx(official["lc_standard_error"], abs=1e-6)


@needs_evaldata
def test_published_weights_predict_the_published_figures():
    difficulty = json.loads((FOLDER / "unofficial_difficulty.json").read_text("utf-8"))["values"]
    with (FOLDER / "leaderboard.csv").open(encoding="utf-8") as lines:
        rows = {row[""]: row for row in csv.DictReader(lines)}
    errors = {
        name: abs(
            predict_length_controlled(float(row["theta"]), float(row["psi_difficulty"]), difficulty)
            - float(row["length_controlled_winrate"])
        )
        for name, row in rows.items()
        if row["theta"]
    }
    # The one model whose published weights do not give its published figure.
    assert 0.15 < errors.pop("dbrx-instruct") < 0.25
    assert set(PAPER) <= set(errors)
    assert max(errors.values()) < 0.02


def test_the_reference_itself_has_half():
    lengths = MODELS["even"]["reference_lengths"]
    found = fit(preferences=[1.5] * 59 + [None], model_lengths=lengths)
    assert found == LengthControlled(50.0, 0.0, phi=0.0, psi=0.0, theta=0.0)


def test_ties_of_other_lengths_are_fitted():
    found = fit(preferences=[1.5] * 60)
    assert found.phi < 0
    assert 45 < found.win_rate < 55


def test_answers_as_long_as_the_reference_owe_nothing_to_length():
    found = fit("certain", model_lengths=MODELS["certain"]["reference_lengths"])
    assert found.win_rate == pytest.approx(
        win_rate(MODELS["certain"]["preferences"]).win_rate, abs=1
    )


def test_the_unit_of_lengths_does_not_matter():
    thousand = {
        name: np.multiply(1000, MODELS["even"][name])
        for name in ("model_lengths", "reference_lengths")
    }
    assert fit(**thousand).win_rate == pytest.approx(fit().win_rate, abs=1e-6)


def test_few_rows_are_fitted():
    assert 0 < first(2).win_rate < 100
    assert 0 < first(3, gamed_baselines=gamed(2)).win_rate < 100


def test_arrays_and_lists_give_the_same():
    columns = {
        name: np.array(MODELS["even"][name]) for name in MODELS["even"] if name != "official"
    }
    assert fit(**columns) == fit()


def test_a_fit_leaves_the_settings_of_scikit_learn_alone():
    fit()
    assert not sklearn.get_config()["enable_metadata_routing"]


def test_fits_in_threads_do_not_disturb_each_other():
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fit, ["even", "terse", "long-winded", "certain"] * 2))
    assert found[:4] == found[4:] == [fit("even"), fit("terse"), fit("long-winded"), fit("certain")]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"preferences": [1.0] * 59}, "`preferences` has 59, `model_lengths` has 60"),
        ({"preferences": [2.5] * 60}, "`preferences`: expected 1 to 2, got 2.5 in row 0"),
        ({"preferences": [math.nan] * 60}, "`preferences`: expected at least one"),
        ({"preferences": [None] * 60}, "`preferences`: expected at least one"),
        ({"preferences": []}, "`preferences`: expected at least one row, got none"),
        ({"preferences": [[1.0]] * 60}, r"`preferences`: .* got shape \(60, 1\)"),
        ({"preferences": ["best"] * 60}, "`preferences`: expected one number for each row"),
        ({"preferences": [math.inf] * 60}, "`preferences`: expected a finite number"),
        ({"model_lengths": [-1] * 60}, "`model_lengths`: expected 0 to inf, got -1.0 in row 0"),
        ({"model_lengths": [None] * 60}, "`model_lengths`: expected a finite number, got nan"),
        ({"model_lengths": [12] * 60, "reference_lengths": [2] * 60}, "got 10 in every row"),
        ({"difficulty": [math.nan] * 60}, "`difficulty`: expected a finite number"),
        ({"gamed_baselines": None}, "`gamed_baselines`: expected the columns preference, std_"),
        ({"gamed_baselines": {"preference": [0]}}, "std_delta_len is missing"),
        ({"gamed_baselines": gamed(0)}, "expected at least one row, got none"),
        (
            {"gamed_baselines": gamed(3) | {"preference": [0, 1.5, 0]}},
            r"gamed_baselines\['preference'\]`: expected 0 to 1, got 1.5 in row 1",
        ),
        (
            {"gamed_baselines": gamed(3) | {"preference": [0]}},
            "`preference` has 1, `std_delta_len` has 3",
        ),
    ],
)
def test_bad_columns_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        fit(**changed)


def test_too_few_rows_are_named():
    with pytest.raises(ValueError, match="expected at least 2 instructions, got 1"):
        first(1)
    with pytest.raises(ValueError, match="expected 5 rows with the gamed baselines, got 4"):
        first(2, gamed_baselines=gamed(2))


def test_win_rate_leaves_out_what_was_not_judged():
    assert win_rate([1.2, None, math.nan, 1.8]) == win_rate([1.2, 1.8])


def test_old_ties_are_ties():
    found = win_rate([0, 1.5, 2, 1])
    assert found.win_rate == found.discrete_win_rate == 50


def test_one_preference_has_no_standard_error():
    found = win_rate([1.75])
    assert (found.win_rate, found.discrete_win_rate) == (75, 100)
    assert math.isnan(found.standard_error)


@given(st.lists(st.floats(1, 2), min_size=2, max_size=50))
def test_what_the_model_wins_the_reference_loses(preferences):
    model = win_rate(preferences)
    reference = win_rate([3 - preference for preference in preferences])
    assert model.win_rate + reference.win_rate == pytest.approx(100)
    assert model.standard_error == pytest.approx(reference.standard_error, abs=1e-6)


def test_prediction_is_the_mean_chance():
    assert predict_length_controlled(0, 0, [1, -2]) == 50
    assert predict_length_controlled(math.log(3), 0, [7]) == pytest.approx(75)
    assert predict_length_controlled(0, math.log(3), [1, -1]) == pytest.approx(50)
    assert predict_length_controlled(-1e6, 0, [1]) == 0


@pytest.mark.parametrize(("instruction", "switched"), OFFICIAL["switched"].items())
def test_outputs_are_switched_by_the_official_rule(instruction, switched):
    assert is_switched(instruction) is switched


@pytest.mark.parametrize(("logprobs", "preference"), OFFICIAL["logprobs"])
def test_logprobs_are_read_as_officially(logprobs, preference):
    wanted = math.nan if preference is None else preference
    found = preference_from_logprobs(logprobs, switched=False)
    assert found == pytest.approx(wanted, nan_ok=True)
    switched = preference_from_logprobs(logprobs, switched=True)
    assert switched == pytest.approx(3 - wanted, nan_ok=True)


@pytest.mark.parametrize("value", [math.nan, 0.5])
def test_impossible_logprobs_are_named(value):
    with pytest.raises(ValueError, match=f"`logprobs`: expected at most 0 for 'M', got {value}"):
        preference_from_logprobs({"m": -1, "M": value}, switched=False)


def test_identical_outputs_tie_without_a_judge():
    assert tie_without_judging("same", "same") == 1.5
    assert tie_without_judging("same", "same ") is None
