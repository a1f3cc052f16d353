"""Public functions of AlpacaEval 2.0: preferences of a judge and win rates."""

from moa_graph.evals.benchmarks.alpaca_eval.score import (
    TIE,
    LengthControlled,
    WinRate,
    is_switched,
    length_controlled_win_rate,
    predict_length_controlled,
    preference_from_logprobs,
    tie_without_judging,
    win_rate,
)

__all__ = [
    "TIE",
    "LengthControlled",
    "WinRate",
    "is_switched",
    "length_controlled_win_rate",
    "predict_length_controlled",
    "preference_from_logprobs",
    "tie_without_judging",
    "win_rate",
]
