"""The scorer `number`."""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from moa_graph.evals.scorers.extraction import find_final_part, remove_emphasis
from moa_graph.evals.scorers.protocol import Score, Scorer, list_expected

# It always matches at a digit, so that no position is scanned twice.
_NUMBER = re.compile(
    r"(?:(?<![\w).])[-+\u2212])?[$€£]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?(?:/\d+)?"
)
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,\}|,\\!)(?=\d{3})")
_LATEX_FRACTION = re.compile(r"(?<!\d)\\[dt]?frac\{(\d{1,40})\}\{(\d{1,40})\}")
_MAX_DIGITS = 200
_TRIED = 10  # last candidates to try, as some are invalid, such as 1/0
_REMOVED = str.maketrans({",": None, "$": None, "€": None, "£": None, "\u2212": "-"})


class LastNumber(Scorer):
    """Passes if the named answer, or else the last number, equals the number `expected`.

    `tolerance` in the row is the maximum difference.
    """

    name = "number"

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row whose `expected` or `tolerance` is not a number."""
        super().check_row(row)
        for key in ("expected", "tolerance"):
            if key in row and not [each for each in _list_texts(row, key) if parse_number(each)]:
                raise ValueError(f"scorer number: `{key}`={row[key]!r}: expected a number")

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Extract the number and compare it."""
        if (found := find_number(answer)) is None:
            return Score(0.0)
        numbers = [number[0] for each in list_expected(row) if (number := parse_number(each))]
        tolerance = (parse_number(str(row.get("tolerance", 0))) or (Fraction(0),))[0]
        is_right = any(abs(found - each) <= tolerance for each in numbers)
        return Score(float(is_right), str(found))


def find_number(text: str) -> Fraction | None:
    """Return the number that an answer names; `None` if there is none."""
    plain = _LATEX_COMMA.sub(",", _LATEX_FRACTION.sub(r"\1/\2", remove_emphasis(text)))
    part = find_final_part(plain)
    named = next(_list_numbers(part), None) if part else None
    if named is not None:
        return named
    last_ones = deque(_NUMBER.finditer(plain), maxlen=_TRIED)
    numbers = (_to_fraction(found[0]) for found in reversed(last_ones))
    return next((number for number in numbers if number is not None), None)


def parse_number(text: str) -> tuple[Fraction] | None:
    """Parse a text that is only a number; the result is a tuple, because 0 is falsy."""
    found = _NUMBER.fullmatch(text.strip().rstrip("%"))
    number = _to_fraction(found[0]) if found else None
    return None if number is None else (number,)


def _list_texts(row: Mapping[str, Any], key: str) -> list[str]:
    return list_expected(row) if key == "expected" else [str(row[key])]


def _list_numbers(text: str) -> Iterator[Fraction]:
    values = (_to_fraction(found[0]) for found in _NUMBER.finditer(text))
    return (value for value in values if value is not None)


def _to_fraction(text: str) -> Fraction | None:
    whole, slash, below = text.translate(_REMOVED).partition("/")
    if len(text) > _MAX_DIGITS or (slash and not int(below)):
        return None
    try:
        return Fraction(Decimal(whole)) / (int(below) if slash else 1)
    except (InvalidOperation, ValueError):
        return None
