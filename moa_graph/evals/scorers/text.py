"""The scorers `exact`, `choice` and `regex`."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from moa_graph.evals.scorers.extraction import find_final_part, remove_emphasis
from moa_graph.evals.scorers.protocol import Score, Scorer, list_expected

_EDGES = " \t\r\n.,;:!?\"'\u201c\u201d\u2018\u2019«»()[]{}$"  # marks around a short answer
_OPTION = re.compile(
    r"\(([A-Z])\)|\b([A-Z])[).:]|\b(?:option|choice) (?:is )?([A-Z])\b", re.IGNORECASE
)
_LETTER = re.compile(r"\W*([A-Z])\W*$", re.IGNORECASE)
_LEADING = re.compile(r"\W{0,5}([A-Z])(?![A-Za-z0-9'\u2019])")
_MAX_LETTER_LINE = 20  # characters of a line with a letter alone
PATTERN_SECONDS = 2.0
_MAX_OPTIONS = 26


def normalize_text(text: str) -> str:
    """Normalize case, width, runs of spaces, and marks at the ends of a text."""
    plain = unicodedata.normalize("NFKC", remove_emphasis(text)).casefold()
    return " ".join(plain.split()).strip(_EDGES)


class ExactMatch(Scorer):
    """Passes if the answer, or the part that it names as answer, equals `expected`."""

    name = "exact"

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Compare."""
        expected = {normalize_text(each) for each in list_expected(row)}
        whole = normalize_text(answer)
        part = find_final_part(remove_emphasis(answer))
        read = whole if whole in expected or part is None else normalize_text(part)
        return Score(float(read in expected), read or None)


class MultipleChoice(Scorer):
    """Passes if the chosen option is `expected`: its letter, or one of `options`."""

    name = "choice"

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row whose `expected` is not one of its options."""
        super().check_row(row)
        if _expected_letter(row) is None:
            raise ValueError(
                f"scorer choice: `expected`={row['expected']!r}: expected a letter from A on, or "
                "one of `options`"
            )

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Read the letter, and compare."""
        chosen = find_choice(answer, _list_options(row))
        return Score(float(chosen == _expected_letter(row)), chosen)


def find_choice(answer: str, options: Sequence[str] = ()) -> str | None:
    """Return the option that an answer chooses.

    It is the option that the answer names. Otherwise it is its only letter, the letter alone in its
    last line, the last option in the form `(B)` or `B.`, or the option whose text it is.

    Args:
        answer: The answer.
        options: Texts of the options, from A; without them any letter is accepted.

    Returns:
        A capital letter, or `None`.
    """
    text = remove_emphasis(answer)
    part = find_final_part(text)
    last_line = text.rstrip().rpartition("\n")[2].strip()
    if part is None and len(last_line) < _MAX_LETTER_LINE and _LETTER.match(last_line):
        return _read_letter(last_line, options)
    for each in (part, text if part is None else None):
        if each is not None and (letter := _read_letter(each, options)):
            return letter
    letters = [next(filter(None, found)).upper() for found in _OPTION.findall(text)]
    known = [letter for letter in letters if _is_option(letter, options)]
    return known[-1] if known and part is None else _match_option(part or text, options)


def _read_letter(text: str, options: Sequence[str]) -> str | None:
    """Return a letter that is alone, or first."""
    found = _LETTER.match(text) if len(text) < _MAX_LETTER_LINE else None
    found = found or _OPTION.match(text.strip()) or _LEADING.match(text)
    if found is None:
        return None
    letter = next(filter(None, found.groups())).upper()
    is_word = letter in "AI" and found.re is _LEADING and len(text.split()) > 1
    return letter if _is_option(letter, options) and not is_word else None


def _is_option(letter: str, options: Sequence[str]) -> bool:
    return ord(letter) - ord("A") < (len(options) or _MAX_OPTIONS)


def _match_option(text: str, options: Sequence[str]) -> str | None:
    wanted = normalize_text(text)
    found = [n for n, option in enumerate(options) if normalize_text(option) == wanted]
    return chr(ord("A") + found[0]) if len(found) == 1 else None


def _list_options(row: Mapping[str, Any]) -> list[str]:
    options = row.get("options")
    return [str(each) for each in options] if isinstance(options, list) else []


def _expected_letter(row: Mapping[str, Any]) -> str | None:
    expected, options = str(row["expected"]).strip(), _list_options(row)
    if re.fullmatch("[A-Za-z]", expected) and _is_option(expected.upper(), options):
        return expected.upper()
    return _match_option(expected, options)


class RegularExpression(Scorer):
    """Passes if the answer contains a match of the regular expression `expected`."""

    name = "regex"
    reads_answers = False

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row whose pattern is none."""
        super().check_row(row)
        import regex

        try:
            regex.compile(str(row["expected"]))
        except regex.error as error:
            raise ValueError(f"scorer regex: `expected`={row['expected']!r}: {error}") from None

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Search the answer; a slow search is cancelled without blocking other threads."""
        import regex

        pattern = regex.compile(str(row["expected"]))
        try:
            found = pattern.search(answer, timeout=PATTERN_SECONDS, concurrent=True)
        except TimeoutError:
            return Score(0.0, note=f"the pattern took more than {PATTERN_SECONDS:g} s")
        return Score(float(found is not None))
