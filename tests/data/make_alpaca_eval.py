"""Make `alpaca_eval.json`: invented judgements, and what the official package makes of them.

Run once, in an environment of its own with `alpaca_eval==0.6.6`; it needs no network:
`python make_alpaca_eval.py > alpaca_eval.json`
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from alpaca_eval.completion_parsers import logprob_parser
from alpaca_eval.metrics import glm_winrate
from alpaca_eval.processors import RandomSwitchTwoColumnsProcessor

ROWS = 60
chance = np.random.default_rng(2406)


def share(score):
    return 1 / (1 + np.exp(-score))


def invent_gamed(difficulty):
    sides = {"concise": (-2.0, 2.2), "verbose": (0.3, -2.5)}
    tables = []
    for name, (ability, shorter) in sides.items():
        lengths = chance.normal(shorter, 1.2, ROWS)
        score = ability - np.tanh(lengths) + 0.6 * difficulty + chance.normal(0, 0.8, ROWS)
        columns = {
            "index": range(ROWS),
            "preference": share(score).round(4),
            "std_delta_len": lengths.round(4),
            "instruction_difficulty": difficulty,
            "not_gamed_baseline": False,
            "model": name,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables)


def invent_model(difficulty, ability, factor, sharpness):
    reference = chance.integers(200, 4000, ROWS)
    model = (reference * factor * chance.lognormal(0, 0.3, ROWS)).astype(int)
    longer = np.tanh((model - reference) / (model - reference).std())
    score = ability + 1.3 * longer + 0.8 * difficulty + chance.normal(0, 1, ROWS)
    return {
        "preferences": (1 + share(sharpness * score)).round(6),
        "model_lengths": model,
        "reference_lengths": reference,
    }


def judge_officially(model, gamed):
    frame = pd.DataFrame(
        {
            "preference": model["preferences"],
            "output_1": ["x" * length for length in model["reference_lengths"]],
            "output_2": ["x" * length for length in model["model_lengths"]],
            "generator_1": "reference",
            "generator_2": "model",
            "annotator": "nobody",
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gamed.csv"
        gamed.to_csv(path, index=False)
        glm_winrate.hf_hub_download = lambda **_: path
        said = glm_winrate.get_length_controlled_winrate(
            frame, save_weights_dir=folder, is_add_glm_preference_inplace=False
        )
        weights = pd.read_csv(
            Path(folder) / "length_controlled_v1/baseline_reference.csv", index_col=0
        )
    names = [
        "win_rate",
        "standard_error",
        "discrete_win_rate",
        "length_controlled_winrate",
        "lc_standard_error",
    ]
    return {name: float(said[name]) for name in names} | {
        "weights": [float(weight) for weight in weights.loc["model"]]
    }


def switch_officially(instructions):
    processor = RandomSwitchTwoColumnsProcessor(
        two_columns_to_switch=["output_1", "output_2"],
        random_seed_columns=["instruction"],
        _switch_column="is_switched_outputs",
        seed=0,
    )
    frame = pd.DataFrame({"instruction": instructions, "output_1": "1", "output_2": "2"})
    switched = processor.preprocess(frame)["is_switched_outputs"]
    return dict(zip(instructions, map(bool, switched), strict=True))


def read_officially(logprobs):
    tokens = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    completion = {"logprobs": {"content": [{"top_logprobs": tokens}]}}
    (raw,) = logprob_parser(completion, "m", ["m", "M"], is_binarize=False)
    return [logprobs, None if np.isnan(raw) else float(raw)]


def main():
    difficulty = chance.normal(0, 1.5, ROWS).round(4)
    gamed = invent_gamed(difficulty)
    models = {
        "even": invent_model(difficulty, 0.0, 1.0, 1),
        "long-winded": invent_model(difficulty, 0.5, 1.8, 1),
        "terse": invent_model(difficulty, -0.5, 0.4, 1),
        "certain": invent_model(difficulty, 1.0, 1.2, 60),
        "beaten": invent_model(difficulty, -12.0, 0.8, 3),
        "not all judged": invent_model(difficulty, 0.8, 1.1, 1),
        "many ties": invent_model(difficulty, -0.2, 1.0, 1),
    }
    models["not all judged"]["preferences"][::7] = np.nan
    models["many ties"]["preferences"][::3] = 1.5
    models["many ties"]["preferences"][1::3] = 0
    kept = ["preference", "std_delta_len", "instruction_difficulty"]
    instructions = ["", *(f"Tell me {n} things about tea.\n" for n in range(2, 20)), "Größe? 茶"]
    tokens = [
        {"m": -0.3, "M": -1.4, "The": -9.0},
        {"M": -0.0001, "m": -9.2},
        {"m": -0.1, "the": -2.5},
        {"M": 0.0},
        {"m": -800.0, "M": -802.0},
        {"Both": -0.1, "the": -2.5},
    ]
    made = {
        "switched": switch_officially(instructions),
        "logprobs": [read_officially(each) for each in tokens],
        "difficulty": difficulty.tolist(),
        "gamed_baselines": {name: gamed[name].tolist() for name in kept},
        "models": {
            name: {
                column: [None if np.isnan(value) else value for value in values.tolist()]
                for column, values in model.items()
            }
            | {"official": judge_officially(model, gamed)}
            for name, model in models.items()
        },
    }
    print(json.dumps(made))


main()
