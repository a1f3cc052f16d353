"""The folder of a system's answers, and when each file is written."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.models.recorded import read_json_rows

ANSWERS_FILE, GENERATION_MANIFEST = "proposals.jsonl", "manifest.json"
JUDGEMENTS_FILE, JUDGING_MANIFEST = "judgements.jsonl", "judging.json"
JUDGES_FOLDER = "judges"
"""Name of the folder of further judges in the folder of a system."""

JsonRow = dict[str, Any]


class ResultsFile:
    """The results of items in `proposals.jsonl`, one per line; the last line of an item counts.

    A line is written completely before the item counts as done, so that the process may be killed
    at any moment.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / ANSWERS_FILE
        rows = read_json_rows(self.path) if self.path.exists() else []
        self.rows: dict[str | int, JsonRow] = {row["id"]: row for row in rows}
        write_text(self.path, format_json_lines(self.rows.values()))

    def write(self, row: JsonRow) -> None:
        """Append a line."""
        self.rows[row["id"]] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(format_json_lines([row]))

    def answered_rows(self, items: Sequence[BenchmarkItem]) -> list[JsonRow]:
        """Return the rows of items with an answer, in the order of the items."""
        rows = (self.rows.get(item.id) for item in items)
        return [row for row in rows if row and row["error"] is None]

    def failures(self, items: Sequence[BenchmarkItem]) -> dict[str | int, str]:
        """Return the causes of failed items."""
        rows = (self.rows.get(item.id) for item in items)
        return {row["id"]: row["error"] for row in rows if row and row["error"]}


def format_json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Format rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
