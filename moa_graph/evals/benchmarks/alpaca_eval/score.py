"""Scores of AlpacaEval 2.0: preferences from a judge's choice, and win rates.

A preference is from 1 (the reference is better) to 2 (the model is better). 1.5 is a tie, as is 0
in old files. NaN or `None` is an instruction without a judgement.

The length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475) follows the published
procedure `length_controlled_v1` in every detail that can change a digit.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from moa_graph.evals.columns import (
    Column,
    Values,
    check_aligned,
    check_range,
    read_column,
)

FIRST, SECOND = "m", "M"
"""The judge's identifiers of the two outputs, in the order of the prompt."""
TIE = 1.5

_GAMED_COLUMNS = ("preference", "std_delta_len", "instruction_difficulty")
_GAMED_WEIGHT = 0.2 / 2  # regularization by the two gamed versions of the baseline
_FOLDS = 5
_fit_lock = Lock()  # liblinear has one random generator per process: concurrent fits change digits


@dataclass(frozen=True)
class WinRate:
    """Win rate of a model against the reference."""

    win_rate: float
    """Percent."""
    standard_error: float
    """Standard error in percent; NaN for one instruction."""
    discrete_win_rate: float
    """Win rate in percent, with each preference counted as a win, a loss or a tie (half a win)."""


@dataclass(frozen=True)
class LengthControlled:
    """Predicted win rate of a model if its answers were as long as the reference's."""

    win_rate: float
    """Percent."""
    standard_error: float
    """Standard error in percent, from the spread of predictions between instructions."""
    phi: float
    """Weight of the difference in length."""
    psi: float
    """Weight of an instruction's difficulty."""
    theta: float
    """Weight of the model."""
    contributions: Column = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    """Contribution of each instruction to the win rate (infinitesimal jackknife). Their mean is the
    win rate, and their spread gives its interval."""


def win_rate(preferences: Values) -> WinRate:
    """Return the win rate of preferences.

    Args:
        preferences: One for each instruction; missing ones are left out.

    Raises:
        ValueError: If there is no preference, or one is outside 1 to 2.
    """
    values = _read_preferences(preferences)
    won = values[~np.isnan(values)] - 1
    discrete = np.where(won == TIE - 1, won, np.rint(won))
    return WinRate(100 * float(won.mean()), _standard_error(won), 100 * float(discrete.mean()))


def length_controlled_win_rate(
    preferences: Values,
    model_lengths: npt.ArrayLike,
    reference_lengths: npt.ArrayLike,
    difficulty: npt.ArrayLike,
    gamed_baselines: Mapping[str, npt.ArrayLike],
) -> LengthControlled:
    """Fit the effect of length on preferences, and predict the win rate without it.

    A model whose answers all tie with the reference and are equally long has 50 % by definition.

    Args:
        preferences: One for each instruction. Missing ones are not used in the fit, but
            predicted.
        model_lengths: Characters of the model's answers.
        reference_lengths: Characters of the reference's answers.
        difficulty: Difficulty of each instruction for the reference; it must match
            `gamed_baselines`.
        gamed_baselines: Judgements of the concise and the verbose version of the reference: the
            columns `preference` (0 to 1), `std_delta_len` and `instruction_difficulty`.

    Raises:
        ValueError: If a column is missing, has another length or invalid values, or if the
            lengths are not informative: one instruction, or equal differences.
    """
    # Above 40 lines: it follows the published algorithm step by step.
    chosen = _read_preferences(preferences)
    lengths = [
        _read_lengths("model_lengths", model_lengths),
        _read_lengths("reference_lengths", reference_lengths),
    ]
    hard = read_column("difficulty", difficulty)
    check_aligned(
        preferences=chosen, model_lengths=lengths[0], reference_lengths=lengths[1], difficulty=hard
    )
    shorter_by = lengths[1] - lengths[0]
    judged = ~np.isnan(chosen)
    gamed_features, gamed_won = _read_gamed(gamed_baselines)
    if not shorter_by.any() and (chosen[judged] == TIE).all():
        level = np.full(hard.size, 50.0)
        return LengthControlled(50.0, 0.0, phi=0.0, psi=0.0, theta=0.0, contributions=level)
    features = np.column_stack(
        [np.tanh(_standardize_lengths(shorter_by)), hard, np.ones_like(hard)]
    )
    all_features = np.vstack([gamed_features, features[judged]])
    row_weights = np.repeat([_GAMED_WEIGHT, 1.0], [gamed_won.size, judged.sum()])
    fitted = _fit_weights(
        all_features, np.concatenate([gamed_won, chosen[judged] - 1]), row_weights
    )
    phi, psi, theta = fitted
    chances = _win_probabilities(theta, psi, hard)
    residuals = np.where(judged, chosen - 1 - _logistic_curve(features @ fitted), 0.0)
    moves = _moves_of_mean(
        np.array(fitted),
        all_features,
        row_weights,
        features * residuals[:, None],
        difficulty=hard,
        chances=chances,
    )
    return LengthControlled(
        100 * float(chances.mean()),
        _standard_error(chances),
        phi=phi,
        psi=psi,
        theta=theta,
        contributions=100 * (chances + moves - moves.mean()),
    )


def predict_length_controlled(theta: float, psi: float, difficulty: npt.ArrayLike) -> float:
    """Predict a length-controlled win rate from fitted weights.

    Args:
        theta: Weight of the model.
        psi: Weight of an instruction's difficulty.
        difficulty: Difficulty of each instruction.

    Returns:
        The win rate in percent.
    """
    return 100 * float(_win_probabilities(theta, psi, read_column("difficulty", difficulty)).mean())


def is_switched(instruction: str) -> bool:
    """Return whether the judge reads the model's output before the reference's."""
    chance = random.Random(f"is_switched_outputs{instruction}0")  # noqa: S311  # the published rule
    return chance.choices([False, True])[0]


def tie_without_judging(reference: str, output: str) -> float | None:
    """Return the preference for identical outputs, which are not judged."""
    return TIE if reference == output else None


def preference_from_logprobs(logprobs: Mapping[str, float], *, switched: bool) -> float:
    """Compute a preference from the judge's probabilities of its two identifiers.

    Args:
        logprobs: Natural logarithms of the probabilities of the first token, by token. A missing
            identifier has the probability 0.
        switched: Whether the judge read the model's output first; see `is_switched`.

    Returns:
        1 (reference) to 2 (model); NaN if both identifiers are missing.

    Raises:
        ValueError: If a logarithm is NaN or above 0.
    """
    first, second = (_read_logprob(logprobs, token) for token in (FIRST, SECOND))
    best = max(first, second)
    if best == -math.inf:
        return math.nan
    weights = [math.exp(first - best), math.exp(second - best)]
    preference = 2 - weights[0] / sum(weights)
    return 3 - preference if switched else preference


def _read_logprob(logprobs: Mapping[str, float], token: str) -> float:
    value = logprobs.get(token, -math.inf)
    if not value <= 1e-6:
        raise ValueError(f"`logprobs`: expected at most 0 for {token!r}, got {value}")
    return value


def _read_preferences(values: Values) -> Column:
    column = read_column("preferences", values, gaps=True)
    chosen = np.where(column == 0, TIE, column)
    check_range("preferences", chosen, 1, 2)
    if np.isnan(chosen).all():
        raise ValueError(f"`preferences`: expected at least one, got {chosen.size} rows without")
    return chosen


def _read_lengths(name: str, values: npt.ArrayLike) -> Column:
    column = read_column(name, values)
    check_range(name, column, 0, math.inf)
    return column


def _read_gamed(table: Mapping[str, npt.ArrayLike]) -> tuple[Column, Column]:
    """Return features and outcomes of the gamed baselines."""
    columns = []
    for name in _GAMED_COLUMNS:
        try:
            values = table[name]
        except (KeyError, TypeError) as error:
            column_names = ", ".join(_GAMED_COLUMNS)
            msg = f"`gamed_baselines`: expected the columns {column_names}; {name} is missing"
            raise ValueError(msg) from error
        columns.append(read_column(f"gamed_baselines[{name!r}]", values))
    check_aligned(**dict(zip(_GAMED_COLUMNS, columns, strict=True)))
    won, shorter, hard = columns
    check_range("gamed_baselines['preference']", won, 0, 1)
    return np.column_stack([np.tanh(shorter), hard, np.zeros_like(hard)]), won


def _standardize_lengths(shorter_by: Column) -> Column:
    """Divide by the standard deviation, without centering."""
    if shorter_by.size < 2:
        raise ValueError("length control: expected at least 2 instructions, got 1")
    if not shorter_by.any():
        return shorter_by  # nothing to control for
    deviation = shorter_by.std(ddof=1)
    if deviation == 0:
        raise ValueError(
            "`model_lengths`: expected differences from `reference_lengths` that differ, got "
            f"{-shorter_by[0]:g} in every row"
        )
    return np.asarray(shorter_by / deviation)


def _fit_weights(features: Column, won: Column, weights: Column) -> tuple[float, float, float]:
    """Fit a logistic regression to outcomes from 0 to 1: each row is a win and a loss."""
    if won.size < _FOLDS:
        msg = f"length control: expected {_FOLDS} rows with the gamed baselines, got {won.size}"
        raise ValueError(msg)
    from sklearn import config_context

    groups = np.tile(np.arange(won.size), 2)
    with _fit_lock, config_context(enable_metadata_routing=True):  # restores the caller's setting
        fitted = _build_regression().fit(
            np.vstack([features, features]),
            np.repeat([1, 0], won.size),
            sample_weight=np.concatenate([won * weights, (1 - won) * weights]),
            groups=groups,
            won=won[groups],
            weights=weights[groups],
        )
    phi, psi, theta = map(float, fitted.coef_[0])
    return phi, psi, theta


def _build_regression() -> Any:
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GroupKFold

    scorer = make_scorer(_log_loss, response_method="predict_proba", greater_is_better=False)
    model = LogisticRegressionCV(
        Cs=10,
        l1_ratios=(1,),
        solver="liblinear",
        cv=GroupKFold(_FOLDS),
        scoring=scorer.set_score_request(won=True, weights=True),
        fit_intercept=False,
        random_state=123,
    )
    if model.get_params().get("use_legacy_attributes") == "warn":  # before scikit-learn 1.10
        model.set_params(use_legacy_attributes=False)
    return model.set_fit_request(sample_weight=True)


def _log_loss(_: Column, predicted: Column, won: Column, weights: Column) -> float:
    """Return the weighted log loss for outcomes instead of labels, without normalization."""
    likely = np.clip(predicted, 1e-15, 1 - 1e-15)
    return -float(np.mean((won * np.log(likely) + (1 - won) * np.log(1 - likely)) * weights))


def _moves_of_mean(
    fitted: Column,
    features: Column,
    weights: Column,
    gradients: Column,
    *,
    difficulty: Column,
    chances: Column,
) -> Column:
    """Return the effect of each instruction on the mean prediction, through the fitted weights.

    This is the infinitesimal jackknife (Efron 1982): the first-order effect of leaving an
    instruction out, without another fit. A weight that L1 has set to 0 stays 0.

    Args:
        fitted: The weights, of shape (3,).
        features: Features of all rows of the fit, of shape (rows, 3).
        weights: Weights of these rows.
        gradients: Gradients of the likelihood of each instruction, of shape (instructions, 3).
        difficulty: Difficulty of each instruction.
        chances: Prediction for each instruction.
    """
    active = fitted != 0
    if not active.any():
        return np.zeros_like(chances)
    likely = _logistic_curve(features @ fitted)
    rows = features[:, active]
    hessian = (rows * (weights * likely * (1 - likely))[:, None]).T @ rows
    slopes = np.column_stack([np.zeros_like(difficulty), difficulty, np.ones_like(difficulty)])
    mean_slope = (slopes * (chances * (1 - chances))[:, None]).mean(axis=0)[active]
    step = np.linalg.lstsq(hessian, mean_slope, rcond=None)[0]
    return np.asarray(gradients[:, active] @ step * chances.size)


def _logistic_curve(values: Column) -> Column:
    return np.asarray(np.exp(-np.logaddexp(0.0, -values)))


def _win_probabilities(theta: float, psi: float, difficulty: Column) -> Column:
    return _logistic_curve(theta + psi * difficulty)


def _standard_error(shares: Column) -> float:
    """Return the standard error of the mean of shares, in percent."""
    if shares.size < 2:
        return math.nan
    return 100 * float(shares.std(ddof=1)) / math.sqrt(shares.size)
