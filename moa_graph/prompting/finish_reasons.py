"""Classify finish reasons: complete, truncated, filtered, refused, failed."""

import re
from typing import Literal

Ending = Literal["whole", "cut", "filtered", "refused", "failed"]

_ENDINGS: dict[str, Ending] = {
    **dict.fromkeys(
        (
            *("length", "max_tokens", "max_output_tokens", "max_token", "model_length", "limit"),
            *("model_context_window_exceeded", "context_length_exceeded", "error_limit"),
            *("max_length", "incomplete", "pause_turn", "stop_limit"),
        ),
        "cut",
    ),
    **dict.fromkeys(
        (
            *("content_filter", "content_filtered", "content-filter", "guardrail_intervened"),
            *("safety", "blocklist", "prohibited_content", "spii", "recitation", "language"),
            *("image_safety", "error_toxic", "sensitive", "guardrails", "data_inspection_failed"),
        ),
        "filtered",
    ),
    **dict.fromkeys(("refusal", "refused"), "refused"),
    **dict.fromkeys(
        (
            *("error", "failed", "abort", "aborted", "cancelled", "canceled", "user_cancel"),
            *("insufficient_system_resource", "network_error", "timeout", "unavailable"),
            *("malformed_function_call", "malformed_tool_call", "malformed_model_output"),
        ),
        "failed",
    ),
}
_WORDS: dict[Ending, str] = {
    "cut": "cut off at its length limit",
    "filtered": "cut off by a content filter",
    "refused": "refused",
    "failed": "ended in an error",
}
_SHORT_WORDS: dict[Ending, str] = {
    "cut": "cut off",
    "filtered": "filtered",
    "refused": "refused",
    "failed": "ended in an error",
}
_REPEATED = re.compile(r"(.{3,40}?)\1{1,8}", re.DOTALL)


def single_reason(reason: str) -> str:
    """Return a reason once if it was repeated by concatenation: `lengthlength`."""
    match = _REPEATED.fullmatch(reason)
    return match[1] if match else reason


def read_ending(reason: str | None) -> Ending:
    """Return how an answer ended; an unknown reason counts as complete."""
    return _ENDINGS.get((reason or "").rpartition(".")[2].strip().lower(), "whole")


def is_whole(reason: str | None) -> bool:
    """Return whether an answer is complete, as far as is known."""
    return read_ending(reason) == "whole"


def name_ending(reason: str | None) -> str | None:
    """Describe an incomplete ending in one or two words."""
    return _SHORT_WORDS.get(read_ending(reason))


def describe_ending(reason: str | None) -> str | None:
    """Describe an incomplete ending, such as `cut off at its length limit (length)`."""
    ending = read_ending(reason)
    return None if ending == "whole" else f"{_WORDS[ending]} ({reason})"
