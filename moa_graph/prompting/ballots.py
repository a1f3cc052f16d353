"""Ballots: ask a model to rank responses, and parse its reply. Pure functions.

A ballot is valid only if it names each response exactly once. Parsing takes linear time.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage

from moa_graph.errors import MoAError
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.thoughts import strip_thoughts

BALLOT_NAME, BALLOT_FIELD = "rank_responses", "ranking"
"""Name of the tool or schema for a ranking."""

MAX_BALLOT_CHARS = 20_000
"""Maximum number of characters of a reply: no ranking is longer."""

_MAX_QUOTED_CHARS = 60
_DECORATION = str.maketrans(
    dict.fromkeys("*_`#[]()<>{},;:.=|\"'\u2013\u2014\u2192\u227b\u300b\u3001-", " ")
)
_LABEL = re.compile(
    r"(?:my |the |final ){0,2}(?:ranking|ballot|order|answer|vote)\s{0,2}(?:is)?\s{0,2}:",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[a-z]{0,10}\n?")
_WORDS = frozenset({"response", "responses", "number", "option", "and", "then", "no"})


class InvalidBallotError(MoAError):
    """A model did not rank each response once."""

    def __init__(self, text: str, count: int) -> None:
        excerpt = text if len(text) <= _MAX_QUOTED_CHARS else f"{text[:_MAX_QUOTED_CHARS]}…"
        super().__init__(
            f"expected the numbers of all {count} responses, best first, got {excerpt!r}"
        )


def ballot_schema(count: int) -> dict[str, Any]:
    """Return the JSON schema of a ballot.

    Args:
        count: Number of responses.
    """
    number = {"type": "string", "enum": [str(n) for n in range(1, count + 1)]}
    return {
        "title": BALLOT_NAME,
        "description": "Ranks all of the numbered responses, the best first.",
        "type": "object",
        "properties": {BALLOT_FIELD: {"type": "array", "items": number}},
        "required": [BALLOT_FIELD],
        "additionalProperties": False,
    }


def parse_ballot(answer: AIMessage, count: int) -> list[int]:
    """Parse the ranking of a model.

    It is the argument of a tool call or of JSON, or numbers in a row (`2 > 1 > 3`, `2, 1, 3`), one
    per line, or after their ranks (`1. Response 2`); as the whole text, or on its last line.

    Args:
        answer: The reply without reasoning.
        count: Number of responses.

    Returns:
        The numbers of all responses, best first.

    Raises:
        InvalidBallotError: If a number is missing or repeated.
    """
    text = strip_thoughts(answer.text)
    called = [call["args"] for call in answer.tool_calls if call["name"] == BALLOT_NAME]
    if called:
        candidates = [_read_field(called[0])] if len(called) == 1 else []
    elif len(text) > MAX_BALLOT_CHARS:
        candidates = []
    else:
        candidates = _read_text(text)
    numbers = list(range(1, count + 1))
    ballots = [each for each in candidates if sorted(each) == numbers]
    if ballots:
        return ballots[0]
    raise InvalidBallotError(replace_surrogates(text), count)


def _read_text(text: str) -> list[list[int]]:
    """Return the possible rankings of a text, most likely first."""
    plain = _FENCE.sub("", text).strip()
    if plain.startswith("{"):
        try:
            return [_read_field(json.loads(plain))]
        except (ValueError, RecursionError):
            return []
    lines = [line for line in plain.splitlines() if line.strip()]
    whole = [_read_line(line) for line in lines]
    ranked = [line[1] for rank, line in enumerate(whole, 1) if [rank] == line[:1] and line[1:]]
    return [
        ranked if len(ranked) == len(lines) else [],
        [number for line in whole for number in line] if all(whole) else [],
        *whole[-1:],
    ]


def _read_line(line: str) -> list[int]:
    """Return the numbers of a line with only numbers; empty for any other line."""
    words = _LABEL.sub(" ", line, count=1).translate(_DECORATION).lower().split()
    numbers = [word for word in words if word not in _WORDS]
    return _to_numbers(numbers)


def _read_field(value: Any) -> list[int]:
    ranking = value.get(BALLOT_FIELD) if isinstance(value, dict) else None
    return _to_numbers(ranking) if isinstance(ranking, list) else []


def _to_numbers(values: Sequence[Any]) -> list[int]:
    texts = [str(each) for each in values]
    return [int(text) for text in texts] if all(map(_is_number, texts)) else []


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,4}", text))
