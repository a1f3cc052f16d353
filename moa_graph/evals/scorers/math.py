r"""The scorer `math`, which compares formulas and values, as in MATH.

Answers are equal if their normalized LaTeX is equal, if their values are equal, or if they are
lists, tuples, intervals or sets with equal parts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from moa_graph.evals.scorers.extraction import find_boxed, find_final_part
from moa_graph.evals.scorers.latex import NoValueError, evaluate
from moa_graph.evals.scorers.protocol import Score, Scorer, list_expected

_MAX_CHARS = 2_000  # characters of an answer; longer ones are compared as text
_MAX_WHOLE_CHARS = 100  # characters of an answer that names no result; longer ones are prose
_MAX_PARTS = 50
_REPLACED = (
    ("\\left", ""),
    ("\\right", ""),
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("\\leq", "\\le"),
    ("\\geq", "\\ge"),
    ("\\neq", "\\ne"),
    ("\\lbrace", "\\{"),
    ("\\rbrace", "\\}"),
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("\\degree", ""),
    ("\\displaystyle", ""),
    ("\\infinity", "\\infty"),
    ("{,}", ""),
    ("\\%", ""),
    ("%", ""),
    ("\\$", ""),
    ("$", ""),
    ("\\!", ""),
    ("\\,", ""),
    ("\\;", ""),
    ("\\:", ""),
    ("\\ ", ""),
    ("~", ""),
    ("\u2212", "-"),
    ("\u03c0", "\\pi "),
    ("\u00d7", "\\times "),
    ("\u00b7", "\\cdot "),
)
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf)\{([^{}]*)\}")
_UNIT = re.compile(r"(?<=[\d})])\\(?:text|mbox|mathrm)\{[^{}]*\}(?:\^\{?\d\}?)?$")
_NAME = re.compile(r"[A-Za-z](?:_\{?\w\}?)?(?:\([A-Za-z]\))?(?==)|[A-Za-z]\\in(?![A-Za-z])")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MIXED = re.compile(r"(-?)(\d+)\\frac\{(\d+)\}\{(\d+)\}")
_BRACED = re.compile(r"([\^_])\{(\w)\}")
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])|(?<=\d)[a-z](?![A-Za-z])")
_POINTS = (0.7390851, 1.3247179, 2.2360679)
"""Values of variables for comparing formulas."""
_CLOSENESS = 1e-9
_UNION = "\\cup"
_PAIRS = {"(": ")", "[": "]", "{": "}"}


class MathAnswer(Scorer):
    r"""Passes if the answer in the last `\boxed{}`, or after "the answer is", equals `expected`.

    An answer with neither is compared as a whole. A long one that is not equal names no result.
    """

    name = "math"

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Extract the answer and compare it."""
        named, whole = find_boxed(answer) or find_final_part(answer), answer.strip()
        result = named or whole
        if not result or len(result) > _MAX_CHARS:
            return Score(0.0)
        is_right = any(are_equal(result, each) for each in list_expected(row))
        is_read = named or is_right or len(whole) <= _MAX_WHOLE_CHARS
        return Score(float(is_right), (canonical_form(result) or None) if is_read else None)


def are_equal(first: str, second: str) -> bool:
    """Return whether two answers are equal."""
    return _are_equal_plain(normalize_latex(first), normalize_latex(second))


def canonical_form(text: str) -> str:
    """Return a text that is equal for most equal answers; for a number, its value."""
    plain = normalize_latex(text)
    try:
        value = evaluate(plain, {})
    except NoValueError:
        return plain
    real = f"{value.real:.9g}"
    return real if abs(value.imag) < _CLOSENESS else f"{real} {value.imag:+.9g}i"


@lru_cache(maxsize=1_024)
def normalize_latex(text: str) -> str:
    """Remove parts without meaning: sizes, spaces, units, names before `=`."""
    for old, new in _REPLACED:
        text = text.replace(old, new)
    text = _UNIT.sub("", text.strip().rstrip(".").strip().replace(" \\text", "\\text"))
    text = _TEXT.sub(r"\1", text)
    plain = re.sub(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])", r"\1 ", text)
    plain = re.sub(r"(?<!\\[A-Za-z])(?<![A-Za-z])\s+|\s+(?![A-Za-z])", "", plain)
    if match := _NAME.match(plain):
        plain = plain[match.end() :].removeprefix("=")
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    plain = _MIXED.sub(r"\1(\2+\\frac{\3}{\4})", plain)
    return _BRACED.sub(r"\1\2", plain)


def _are_equal_plain(first: str, second: str, depth: int = 0) -> bool:
    if first == second or first.replace("\\", "").lower() == second.replace("\\", "").lower():
        return True
    parts, others = _split_list(first), _split_list(second)
    if parts and others and depth < 3:
        return _are_lists_equal(parts, others, depth + 1)
    return not parts and not others and _have_same_value(first, second)


def _are_lists_equal(
    first: tuple[str, list[str]], second: tuple[str, list[str]], depth: int
) -> bool:
    """Compare each part; the order in sets, unions and lists without brackets is ignored."""
    if first[0] != second[0] or len(first[1]) != len(second[1]):
        return False
    if first[0] not in {"", "{}", _UNION}:
        pairs = zip(first[1], second[1], strict=True)
        return all(_are_equal_plain(a, b, depth) for a, b in pairs)
    rest = list(second[1])
    for part in first[1]:
        place = next((n for n, each in enumerate(rest) if _are_equal_plain(part, each, depth)), -1)
        if place < 0:
            return False
        del rest[place]
    return True


def _split_list(text: str) -> tuple[str, list[str]] | None:
    """Return the brackets and parts of a list, tuple, interval or set; `None` for others."""
    if _UNION in text:
        return _UNION, text.split(_UNION)[:_MAX_PARTS]
    plain = text.replace("\\{", "{").replace("\\}", "}")
    is_bracketed = plain[:1] in _PAIRS and plain[-1:] in _PAIRS.values()
    inner = plain[1:-1] if is_bracketed else plain
    parts = list(_split_commas(inner))
    if not 2 <= len(parts) <= _MAX_PARTS:
        return ("{}", [inner]) if text.startswith("\\{") else None
    return (plain[0] + plain[-1] if is_bracketed else "", parts)


def _split_commas(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for place, character in enumerate(text):
        depth += (character in _PAIRS) - (character in _PAIRS.values())
        if character == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _have_same_value(first: str, second: str) -> bool:
    names = Counter(_LETTER.findall(first)) | Counter(_LETTER.findall(second))
    letters = [each for each in names if each not in {"e", "i"}]
    for number in range(len(_POINTS) if letters else 1):
        values = {
            letter: complex(_POINTS[(number + place) % len(_POINTS)] + 0.01 * place)
            for place, letter in enumerate(sorted(letters))
        }
        try:
            a, b = evaluate(first, values), evaluate(second, values)
        except NoValueError:
            return False
        if abs(a - b) > _CLOSENESS * max(1.0, abs(a), abs(b)):
            return False
    return True
