"""Answers of a system, as `moa eval generate` leaves them, for judges to judge."""

import json
import math
import re

from moa_graph import MoAConfig
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.manifest import write_manifest
from moa_graph.evals.results_file import ResultsFile

ALPACA_EVAL = [
    {"dataset": "d", "instruction": f"question {n}", "output": f"reference {n}", "generator": "r"}
    for n in range(8)
]
MT_BENCH = [
    {"question_id": 81, "category": "writing", "turns": ["write", "write more"]},
    {
        "question_id": 101,
        "category": "math",
        "turns": ["1 + 1", "2 + 2"],
        "reference": ["it is two", "it is four"],
    },
]
FLASK = [
    {
        "idx": n,
        "instruction": f"instruction {n}",
        "answer": f"the truth {n}",
        "task": "t",
        "skill": ["Logical Correctness", "Factuality", "Readability"],
        "domain": ["Math", "Technology"] if n else ["Math"],
        "difficulty": "simple lifestyle knowledge" if n else "expert level knowledge",
    }
    for n in range(2)
]
ROWS = {"alpaca_eval": ALPACA_EVAL, "mt_bench": MT_BENCH, "flask": FLASK}


def write_data(tmp_path, benchmark, rows=None):
    rows = rows or ROWS[benchmark]
    if benchmark == "alpaca_eval":
        path = tmp_path / "alpaca_eval.json"
        path.write_text(json.dumps(rows))
    else:
        path = tmp_path / f"{benchmark}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answered(tmp_path, benchmark, reply, *, name="mine", rows=None):
    """Write down what a system answered; `reply` gets each question."""
    config = MoAConfig.model_validate({"layers": [["offline:lead"]], "aggregator": "offline:lead"})
    data = load_benchmark(benchmark, write_data(tmp_path, benchmark, rows))
    folder = tmp_path / "out" / benchmark / name
    journal = ResultsFile(folder)
    for item in data.items:
        turns = [
            {"instruction": turn, "answer": reply(turn), "error": None}
            | {"proposals": {}, "aggregator": None}
            for turn in item.turns
        ]
        journal.write({"id": item.id, "category": item.category, "turns": turns, "error": None})
    write_manifest(folder, name, config, data, journal)
    return folder


def weigh(first, second, **others):
    """Give what OpenAI tells of a first token, from probabilities."""
    tokens = [
        {"token": token, "logprob": math.log(chance), "bytes": None}
        for token, chance in {"m": first, "M": second, **others}.items()
        if chance
    ]
    best = max(tokens, key=lambda token: token["logprob"])
    return {"content": [{**best, "top_logprobs": tokens}]}


def shown(body):
    """Find the two answers in our own prompt."""
    return re.findall(r'<answer writer="[mM]">\n(.*?)\n</answer>', body["messages"][1]["content"])


def prefer(word, chance=0.9):
    """Judge by whether a word stands in an answer."""

    def logprobs(body):
        first, second = (word in each for each in shown(body))
        if first == second:
            return weigh(0.5, 0.5)
        return weigh(chance, 1 - chance) if first else weigh(1 - chance, chance)

    return logprobs


def judgements(folder):
    lines = (folder / "judgements.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def judging(folder):
    return json.loads((folder / "judging.json").read_text())
