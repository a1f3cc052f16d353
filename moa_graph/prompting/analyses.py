"""Analyses of proposals: prompt, schema and parsing. Pure functions.

A model refers to responses by number. The stored analysis refers to nodes, so that it can be read,
edited and shown independently of the numbers.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.errors import MoAError
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.thoughts import strip_thoughts

ANALYSIS_NAME = "analyze_responses"
"""Name of the tool or schema for an analysis."""

MAX_ANALYSIS_CHARS = 200_000
"""Maximum number of characters of a reply."""
MAX_ITEMS = 100
"""Maximum number of entries of a list."""
MAX_TEXT_CHARS = 2_000
"""Maximum number of characters of an entry."""

_MAX_QUOTED_CHARS = 60


class HeldStance(TypedDict):
    """A stance, and the responses that hold it."""

    stance: str
    held_by: list[str]
    """Nodes of the proposals."""


class Contradiction(TypedDict):
    """An issue on which responses contradict each other."""

    issue: str
    positions: list[HeldStance]


class UniquePoint(TypedDict):
    """A point that only one response makes."""

    point: str
    held_by: str
    """Node of the proposal; empty if the analysis does not say which."""


class Analysis(TypedDict):
    """Agreement and differences of proposals. All values are plain."""

    consensus: list[str]
    """Points on which the responses agree."""
    contradictions: list[Contradiction]
    """Issues on which they contradict each other, with the stances."""
    unique: list[UniquePoint]
    """Points that only one response makes."""
    blind_spots: list[str]
    """Relevant matters that no response covers."""


class InvalidAnalysisError(MoAError):
    """A model returned no valid analysis."""

    def __init__(self, problem: str, text: str) -> None:
        excerpt = text if len(text) <= _MAX_QUOTED_CHARS else f"{text[:_MAX_QUOTED_CHARS]}…"
        super().__init__(f"expected an analysis as JSON, {problem}: {excerpt!r}")


def analysis_schema(count: int) -> dict[str, Any]:
    """Return the JSON schema of an analysis.

    Args:
        count: Number of responses.
    """
    text = {"type": "string"}
    number = {"type": "string", "enum": [str(n) for n in range(1, count + 1)]}
    position = _object_schema(stance=text, responses=_list_schema(number))
    issue = _object_schema(issue=text, positions=_list_schema(position))
    form = _object_schema(
        consensus=_list_schema(text),
        contradictions=_list_schema(issue),
        unique=_list_schema(_object_schema(point=text, response=number)),
        blind_spots=_list_schema(text),
    )
    described = {"title": ANALYSIS_NAME, "description": "Compares the numbered responses."}
    return described | form


def _object_schema(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list_schema(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def parse_analysis(answer: AIMessage, nodes: Sequence[str]) -> Analysis:
    """Parse an analysis, and replace numbers by nodes.

    It is the argument of a tool call, or the JSON object in the text. Missing lists are empty.
    Invalid entries and numbers are skipped.

    Args:
        answer: The reply without reasoning.
        nodes: Nodes of the responses, in the order of their numbers.

    Raises:
        InvalidAnalysisError: If there is no object with one of the lists.
    """
    text = strip_thoughts(answer.text)
    called = [call["args"] for call in answer.tool_calls if call["name"] == ANALYSIS_NAME]
    value = called[0] if called else _read_object(text)
    if not isinstance(value, Mapping) or not Analysis.__annotations__.keys() & value.keys():
        names = ", ".join(Analysis.__annotations__)
        raise InvalidAnalysisError(f"with some of {names}", replace_surrogates(text))
    return Analysis(
        consensus=_read_texts(value.get("consensus")),
        contradictions=[
            contradiction
            for each in _items(value.get("contradictions"))
            if (contradiction := _read_contradiction(each, nodes))
        ],
        unique=[
            UniquePoint(point=point, held_by=next(iter(_find_holders(each, "response", nodes)), ""))
            for each in _items(value.get("unique"))
            if (point := _read_text(each.get("point") if isinstance(each, Mapping) else each))
        ],
        blind_spots=_read_texts(value.get("blind_spots")),
    )


def _read_object(text: str) -> Any:
    start, end = text.find("{"), text.rfind("}")
    if len(text) > MAX_ANALYSIS_CHARS:
        raise InvalidAnalysisError(f"got more than {MAX_ANALYSIS_CHARS:,} characters", text)
    try:
        return json.loads(text[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None


def _read_contradiction(each: Any, nodes: Sequence[str]) -> Contradiction | None:
    issue = _read_text(each.get("issue")) if isinstance(each, Mapping) else ""
    positions = [
        HeldStance(stance=stance, held_by=_find_holders(position, "responses", nodes))
        for position in _items(each.get("positions") if issue else ())
        if isinstance(position, Mapping) and (stance := _read_text(position.get("stance")))
    ]
    return Contradiction(issue=issue, positions=positions) if issue and positions else None


def _find_holders(each: Any, name: str, nodes: Sequence[str]) -> list[str]:
    """Return the nodes of the numbers or nodes under a key or under `held_by`."""
    references = (each.get(name) or each.get("held_by") or ()) if isinstance(each, Mapping) else ()
    texts = [str(n) for n in (references if isinstance(references, list) else [references])]
    by_number = {str(number): node for number, node in enumerate(nodes, 1)}
    holders = (by_number.get(text) or (text if text in nodes else None) for text in texts)
    return list(dict.fromkeys(filter(None, holders)))


def _items(value: Any) -> Sequence[Any]:
    return value[:MAX_ITEMS] if isinstance(value, list) else ()


def _read_texts(value: Any) -> list[str]:
    return [text for each in _items(value) if (text := _read_text(each))]


def _read_text(value: Any) -> str:
    return replace_surrogates(value).strip()[:MAX_TEXT_CHARS] if isinstance(value, str) else ""


def read_stored_analysis(value: Any) -> Analysis | None:
    """Parse the analysis of a state, which a person may have written; `None` if invalid."""
    if not isinstance(value, Mapping) or not Analysis.__annotations__.keys() & value.keys():
        return None
    names = [*_names_in(value)]
    return parse_analysis(AIMessage(json.dumps(dict(value), default=str)), names)


def _names_in(value: Mapping[str, Any]) -> Sequence[str]:
    positions = [
        position
        for each in _items(value.get("contradictions"))
        if isinstance(each, Mapping)
        for position in _items(each.get("positions"))
    ]
    holders = [
        each for each in (*positions, *_items(value.get("unique"))) if isinstance(each, Mapping)
    ]
    names = [each.get("held_by") for each in holders]
    flat = [n for name in names for n in (name if isinstance(name, list) else [name])]
    return list(dict.fromkeys(name for name in flat if isinstance(name, str) and name))


def format_analysis(analysis: Analysis, names: Mapping[str, str]) -> str:
    """Format an analysis as text.

    Args:
        analysis: The analysis.
        names: Names of the responses, by node; responses without a name are left out.
    """
    contradictions = [
        f"{each['issue']}: "
        + "; ".join(
            f"{p['stance']}{_format_holders(p['held_by'], names)}" for p in each["positions"]
        )
        for each in analysis["contradictions"]
    ]
    unique = [f"{u['point']}{_format_holders([u['held_by']], names)}" for u in analysis["unique"]]
    sections = {
        "Agreed": analysis["consensus"],
        "Contradictory": contradictions,
        "Only in one response": unique,
        "Covered by none": analysis["blind_spots"],
    }
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"- {entry}" for entry in entries)])
        for title, entries in sections.items()
        if entries
    )


def _format_position(position: HeldStance, names: Mapping[str, str]) -> str:
    return f"{position['stance']}{_format_holders(position['held_by'], names)}"


def _format_holders(nodes: Sequence[str], names: Mapping[str, str]) -> str:
    shown_names = [names[node] for node in nodes if node in names]
    return f" ({', '.join(shown_names)})" if shown_names else ""
