"""The scorer `json`, which compares fields of JSON objects."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moa_graph.evals.scorers.extraction import list_code_blocks
from moa_graph.evals.scorers.protocol import Score, Scorer


class JSONFields(Scorer):
    """Passes if the answer contains a JSON object with the fields of the object `expected`.

    Other fields are ignored. Numbers are compared by value, texts exactly.
    """

    name = "json"

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row whose `expected` is not an object."""
        super().check_row(row)
        if not isinstance(row["expected"], dict) or not row["expected"]:
            raise ValueError(
                f"scorer json: `expected`={row['expected']!r}: expected an object with fields"
            )

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Compare each field; the answer is correct if all are equal."""
        expected: Mapping[str, Any] = row["expected"]
        if (fields := find_object(answer)) is None:
            return Score(0.0, parts=dict.fromkeys(expected, 0.0), note="no JSON object")
        parts = {
            name: float(name in fields and _are_equal(fields[name], value))
            for name, value in expected.items()
        }
        compared = {name: fields.get(name) for name in sorted(expected)}
        return Score(float(all(parts.values())), json.dumps(compared, sort_keys=True), parts)


def _are_equal(value: Any, expected: Any) -> bool:
    """Compare values; unlike in Python, `true` is not 1."""
    return bool(value == expected) and isinstance(value, bool) == isinstance(expected, bool)


def find_object(text: str) -> dict[str, Any] | None:
    """Return the last JSON object in a text: in a code block, alone, or between words."""
    for each in _list_candidates(text):
        try:
            value = json.loads(each)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _list_candidates(text: str) -> Iterator[str]:
    """Return the parts of the text that may be an object, few enough to parse each."""
    blocks = list_code_blocks(text)[-3:]
    yield from (block for _, block in reversed(blocks))
    start, end = text.find("{"), text.rfind("}") + 1
    yield text[start:end]
    yield text[text.rfind("\n{") + 1 : end]
