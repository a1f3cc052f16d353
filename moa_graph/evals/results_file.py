"""The folder of a system's answers: what is written, and when."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moa_graph.atomic_files import write_text
from moa_graph.evals.datasets import BenchmarkItem
from moa_graph.models.recorded import read_json_rows

JsonRow = dict[str, Any]


class ResultsFile:
    """What came of each item, a line each, in `proposals.jsonl`; a later line counts.

    A line is written whole before the next item counts as done, so that a process may be killed
    at any moment.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "proposals.jsonl"
        rows = read_json_rows(self.path) if self.path.exists() else []
        self.rows: dict[str | int, JsonRow] = {row["id"]: row for row in rows}
        write_text(self.path, "".join(map(_json_line, self.rows.values())))

    def write(self, row: JsonRow) -> None:
        """Add a line."""
        self.rows[row["id"]] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_json_line(row))

    def answered_rows(self, items: Sequence[BenchmarkItem]) -> list[JsonRow]:
        """Give the rows of items that have an answer, in the order of the items."""
        rows = (self.rows.get(item.id) for item in items)
        return [row for row in rows if row and row["error"] is None]


def write_outputs(folder: Path, name: str, benchmark: str, rows: Sequence[JsonRow]) -> Path:
    """Write answers in the format that a benchmark's own tools read.

    Args:
        folder: Where to.
        name: What the system is called.
        benchmark: `alpaca_eval`, `mt_bench`, `flask`; for anything else a format of our own.
        rows: Rows of a journal that have answers.

    Returns:
        The file.
    """
    if benchmark == "alpaca_eval":
        path = folder / "model_outputs.json"
        outputs = [_alpaca_eval_row(row, name) for row in rows]
        write_text(path, json.dumps(outputs, indent=2, ensure_ascii=False))
        return path
    makers: dict[str, Callable[[JsonRow, str], JsonRow]] = {
        "mt_bench": _mt_bench_row,
        "flask": _flask_row,
    }
    make = makers.get(benchmark, _own_row)
    path = folder / (f"{name}.jsonl" if benchmark in makers else "answers.jsonl")
    write_text(path, "".join(_json_line(make(row, name)) for row in rows))
    return path


def _json_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _turn_answers(row: JsonRow) -> list[str]:
    return [turn["answer"] for turn in row["turns"]]


def _alpaca_eval_row(row: JsonRow, name: str) -> JsonRow:
    return {
        "dataset": row["category"],
        "instruction": row["turns"][0]["instruction"],
        "output": _turn_answers(row)[0],
        "generator": name,
    }


def _mt_bench_row(row: JsonRow, name: str) -> JsonRow:
    return {
        "question_id": row["id"],
        "answer_id": row["answer_id"],
        "model_id": name,
        "choices": [{"index": 0, "turns": _turn_answers(row)}],
        "tstamp": row["ended"],
    }


def _flask_row(row: JsonRow, _: str) -> JsonRow:
    return {"question_id": row["id"], "text": _turn_answers(row)[0]}


def _own_row(row: JsonRow, name: str) -> JsonRow:
    turns = [turn["instruction"] for turn in row["turns"]]
    return {"id": row["id"], "turns": turns, "answers": _turn_answers(row), "generator": name}
