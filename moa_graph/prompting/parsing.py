"""Parse answers: text, tokens and finish reason. Pure functions."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple, TypeGuard, cast

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, messages_from_dict
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.messages.utils import message_chunk_to_message

from moa_graph.errors import MoAError
from moa_graph.prompting.finish_reasons import read_ending, single_reason
from moa_graph.prompting.selected_number import read_selected_number
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.tokens import truncate_answer
from moa_graph.prompting.usage import clean_usage

ZERO_USAGE = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
"""Usage of a call that was not made."""

SELECTION_NAME, SELECTION_FIELD = "select_response", "number"
"""Name of the tool or schema for the number of the best response."""

MAX_REFUSAL_CHARS = 500  # characters of a provider's message in an error
MAX_NAME_CHARS = 200  # characters of a model's name
MAX_QUOTED_REPLY_CHARS = 60  # characters of a reply in an error

# Invisible letters, marks and symbols: Hangul fillers, U+034F, variation selectors, the empty
# Braille pattern.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
_REASONING_BLOCK_TYPES = {
    "reasoning",
    "reasoning_content",
    "thinking",
    "redacted_thinking",
    "thought",
}


class EmptyAnswerError(MoAError):
    """A model returned no text."""

    def __init__(self, answer: AIMessage) -> None:
        words = _read_refusal(answer) or _describe_broken_call(answer)
        super().__init__(
            f"empty answer (finish reason: {read_finish_reason(answer)}){words and f': {words}'}"
        )


def _describe_broken_call(answer: AIMessage) -> str:
    """Name the first tool call with invalid arguments, if there is one."""
    if not answer.invalid_tool_calls:
        return ""
    name = (answer.invalid_tool_calls[0]["name"] or "")[:MAX_NAME_CHARS]
    return f"the arguments of its call of {name!r} are not a JSON object"


class FailedAnswerError(MoAError):
    """An answer ended in an error, according to its finish reason, and is incomplete."""

    def __init__(self, answer: AIMessage) -> None:
        reason, words = read_finish_reason(answer), _read_refusal(answer)
        super().__init__(
            f"the answer ended in an error (finish reason: {reason}){words and f': {words}'}"
        )


def check_answer(answer: AIMessage, text: str) -> None:
    """Reject an invalid answer.

    Args:
        answer: The answer of a model.
        text: Its text without reasoning, or a substitute for the text.

    Raises:
        FailedAnswerError: If it ended in an error.
        EmptyAnswerError: If it has no text.
    """
    if read_ending(read_finish_reason(answer)) == "failed":
        raise FailedAnswerError(answer)
    if not any(map(_is_visible, text)):
        raise EmptyAnswerError(answer)


def _is_visible(character: str) -> bool:
    """Return whether a character is visible, unlike spaces, zero-width characters and fillers."""
    category = unicodedata.category(character)
    return (category[0] not in "CZ" and character not in _BLANKS) or category in {"Co", "Cn", "Cs"}


class InvalidSelectionError(MoAError):
    """A reply does not select one of the responses."""

    def __init__(self, text: str, count: int) -> None:
        shown_text = (
            text if len(text) <= MAX_QUOTED_REPLY_CHARS else f"{text[:MAX_QUOTED_REPLY_CHARS]}…"
        )
        super().__init__(
            f"expected only the number of one of {count} responses, got {shown_text!r}"
        )


def to_message(output: Any) -> AIMessage:
    """Return the answer in the output of a runnable: a message, a text, or a graph's state.

    Raises:
        TypeError: If it contains no answer.
    """
    if isinstance(output, dict) and output.get("messages"):
        output = _load_message(output["messages"][-1])
    if isinstance(output, str):
        return AIMessage(output)
    if isinstance(output, AIMessageChunk):
        output = message_chunk_to_message(output)
    if not isinstance(output, AIMessage):
        raise TypeError(f"expected the model to return an AIMessage, got {type(output).__name__}")
    return output


class OutputUsage(NamedTuple):
    """The tokens of an output; `None` if the models did not report them."""

    usage: dict[str, Any] | None
    """Tokens of the calls that were made."""
    saved_usage: dict[str, Any] | None
    """Original tokens of answers from LangChain's cache."""
    is_cached: bool
    """Whether all answers come from LangChain's cache."""


def read_usage(output: Any) -> OutputUsage:
    """Return the tokens of an output: of one call, or of all calls in a graph's turn."""
    messages = output.get("messages", ()) if isinstance(output, dict) else (output,)
    loaded = takewhile(
        lambda message: not isinstance(message, HumanMessage), map(_load_message, messages[::-1])
    )
    answers = [message for message in loaded if isinstance(message, AIMessage)]
    hits = [answer for answer in answers if _is_cache_hit(answer)]
    billed = [answer for answer in answers if not _is_cache_hit(answer)]
    is_cached = bool(hits and not billed)
    usage = {**ZERO_USAGE} if is_cached else _sum_usages(billed)
    return OutputUsage(usage, _sum_usages(hits), is_cached)


def sum_usage(output: Any) -> dict[str, Any] | None:
    """Sum the tokens of an output's calls; see `read_usage`."""
    return read_usage(output).usage


def _is_cache_hit(answer: AIMessage) -> bool:
    """Return whether an answer has LangChain's mark of cached answers."""
    usage: Mapping[str, Any] = answer.usage_metadata or {}
    return usage.get("total_cost") == 0


def _sum_usages(answers: Iterable[AIMessage]) -> dict[str, Any] | None:
    total: UsageMetadata | None = None
    for answer in answers:
        summary = answer.response_metadata.get("moa") or {}
        if usage := clean_usage(summary.get("usage") or answer.usage_metadata):
            total = add_usage(total, cast("UsageMetadata", usage))
    return dict(total) if _has_tokens(total) else None


def _has_tokens(usage: UsageMetadata | None) -> TypeGuard[UsageMetadata]:
    return bool(usage and usage["total_tokens"])


def _load_message(value: Any) -> Any:
    """Return a message of a graph's state; a remote graph returns it as a mapping."""
    if isinstance(value, dict) and "type" in value:
        return messages_from_dict([{"type": value["type"], "data": value}])[0]
    return value


def parse_selected_number(answer: AIMessage, count: int, responses: Sequence[str] = ()) -> int:
    """Return the number of the response that a model selected.

    The number is the argument of a tool call or of JSON, or the whole text (2, 2., **2**,
    "Response 2"), or begins the text ("2. It is right"), or is the only one that the text selects
    ("I'd go with 2", "Response 2 is the best, because 1 is wrong").

    Args:
        answer: The reply without reasoning.
        count: Number of responses.
        responses: Texts of the responses. A reply with the number of one before the text of
            another selects none.

    Raises:
        InvalidSelectionError: If the reply selects none or several, criticizes the selected one, or
            praises another.
    """
    text = strip_thoughts(answer.text)
    if called := _called_numbers(answer):
        number = called.pop() if len(called) == 1 else None
    else:
        number = read_selected_number(text, count, responses)
    if number is not None and 1 <= number <= count:
        return number
    raise InvalidSelectionError(replace_surrogates(text), count)


def _called_numbers(answer: AIMessage) -> set[int]:
    """Return the numbers in tool calls of a reply."""
    arguments = [
        str(call["args"].get(SELECTION_FIELD, ""))
        for call in answer.tool_calls
        if call["name"] == SELECTION_NAME
    ]
    return {int(each) for each in arguments if re.fullmatch(r"[0-9]{1,4}", each)}


def read_finish_reason(answer: AIMessage) -> str | None:
    """Return the finish reason under any key that providers use."""
    metadata = answer.response_metadata
    keys = ("finish_reason", "stop_reason", "stopReason", "done_reason")
    reason = next((str(metadata[key]) for key in keys if metadata.get(key)), None)
    details = metadata.get("incomplete_details")  # OpenAI's Responses API
    if isinstance(details, dict) and details.get("reason"):
        reason = str(details["reason"])
    elif reason is None and metadata.get("status") in {"failed", "incomplete", "cancelled"}:
        reason = str(metadata["status"])
    return single_reason(reason) if reason else None


def read_served_model(answer: AIMessage) -> str | None:
    """Return the model that answered, as the provider reports it; `None` if it does not."""
    name = answer.response_metadata.get("model_name")
    return name[:MAX_NAME_CHARS] if name and isinstance(name, str) else None


def _read_refusal(answer: AIMessage) -> str:
    """Return a provider's explanation of an empty answer; empty if there is none."""
    blocks = answer.content if isinstance(answer.content, list) else ()
    refusals = [each.get("refusal") for each in blocks if isinstance(each, dict)]
    metadata = answer.response_metadata
    texts = (
        *(answer.additional_kwargs.get("refusal"), *refusals),
        *(metadata.get("refusal"), metadata.get("stop_details"), metadata.get("prompt_feedback")),
    )
    words = next((each for each in texts if each), "")
    text = words if isinstance(words, str) else json.dumps(words, default=str, ensure_ascii=False)
    text = replace_surrogates(text)
    return text if len(text) <= MAX_REFUSAL_CHARS else f"{text[:MAX_REFUSAL_CHARS]}…"


def content_without_reasoning(answer: AIMessage) -> str | list[str | dict[str, Any]]:
    """Return the content of a final answer without reasoning; the next turn shows it to others.

    Content beyond the limit is truncated with a note.

    An answer with tool calls keeps its reasoning: its provider requires it with the tool results.
    """
    if isinstance(answer.content, str):
        return truncate_answer(_strip_tagged_reasoning(answer.content))[0]
    if answer.tool_calls:
        return answer.content
    blocks = [
        block
        for block in answer.content
        if not (isinstance(block, dict) and block.get("type") in _REASONING_BLOCK_TYPES)
    ]
    text = truncate_answer(_strip_tagged_reasoning(answer.text))[0]
    if text == answer.text:
        return blocks
    # Reasoning may extend over several blocks, so one block replaces all.
    others = [b for b in blocks if isinstance(b, dict) and b.get("type") != "text"]
    return [{"type": "text", "text": text}, *others]


def _strip_tagged_reasoning(text: str) -> str:
    stripped = strip_thoughts(text)
    text = replace_surrogates(text)
    return text if stripped == text.strip() else stripped
