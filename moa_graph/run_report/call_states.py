"""The state of a call in the report: an icon, a word and a border."""

from dataclasses import dataclass

from moa_graph.prompting.finish_reasons import name_ending
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.formatting import format_seconds

ICONS = {
    "ok": "M2.5 8.5l3.6 3.7 7.4-8",
    "bad": "M3 3l10 10M13 3L3 13",
    "cut": "M1.5 5h13M1.5 10h5M9 7.5L7 13",
    "hit": "M9 1.5L3.5 9H8l-1 5.5L12.5 7H8z",
    "reuse": "M3 3v4a4 4 0 0 0 4 4h6M10 8l3 3-3 3",
    "edit": "M2.5 13.5l.8-3.2 7.8-7.8 2.4 2.4-7.8 7.8z",
    "skip": "M3 3.5l5.5 4.5L3 12.5zM13 3v10",
    "wait": "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M8 5v3.4l2 1.4",
    "warn": "M8 2l6.5 11.5h-13zM8 6.5v3M8 11.6v.01",
    "info": "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M8 7.5v3.5M8 5v.01",
}
"""SVG paths of 16 by 16 icons, by name of the state."""

LEGEND = {
    "ok": "answered",
    "hit": "from the cache, dotted",
    "reuse": "reused from an earlier call, dotted",
    "edit": "edited by a person, blue",
    "cut": "cut off, dashed",
    "bad": "failed, thick red",
    "skip": "not asked, grey",
    "wait": "no answer yet, dropped or not known, dotted grey",
}
"""Meanings of the states, in the order of the legend."""


@dataclass(frozen=True)
class CallState:
    """The state of a call."""

    name: str
    """A key of `LEGEND`, and the name of its class in the style sheet."""
    word: str


NOT_ASKED = CallState("skip", "not asked")
NOT_ANSWERED = CallState("wait", "not answered")
LEFT_OUT = CallState("wait", "dropped")
NOT_KNOWN = CallState("wait", "not known")


def read_call_state(call: AgentCall, *, is_reused: bool = False) -> CallState:
    """Return the state of a call.

    Args:
        call: The call.
        is_reused: Whether stored answers of its run are from an earlier call of the same turn.
    """
    if call.error:
        return CallState("bad" if call.status == "failed" else "cut", call.status)
    if call.ending_note:
        return CallState("cut", name_ending(call.finish_reason) or "incomplete")
    if call.cached:
        return CallState("reuse", "reused") if is_reused else CallState("hit", "cached")
    return CallState("ok", "answered")


def tokens_written(call: AgentCall) -> int | None:
    """Return the completion tokens of an answer, also of a stored one; `None` if unknown."""
    usage = call.cached["usage"] if call.cached else call.usage
    return usage["output_tokens"] if usage else None


def describe_call(call: AgentCall, state: CallState) -> str:
    """Describe how a call ended, such as `cut off 6.2 s · 77 tokens`."""
    tokens = tokens_written(call)
    seconds = format_seconds(call.seconds) if call.seconds or state.name == "ok" else ""
    words = {"ok": seconds, "hit": state.word, "reuse": state.word}
    ending = words.get(state.name, f"{state.word} {seconds}".strip())
    parts = [ending, "hedged" if call.hedged else "", f"{tokens:,} tokens" if tokens else ""]
    return " · ".join(filter(None, parts))
