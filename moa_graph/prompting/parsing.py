"""What is read from an answer: its text, its tokens, and why it ended. Pure functions."""

import json
import re
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
"""The tokens of a call that was not made."""

SELECTION_NAME, SELECTION_FIELD = "select_response", "number"
"""The tool, or the form, in which a model says which response is the best."""

MAX_REFUSAL_CHARS = 500  # characters of a provider's words that an error repeats
MAX_QUOTED_REPLY_CHARS = 60  # characters of a reply that an error repeats

_REASONING_BLOCK_TYPES = {
    "reasoning",
    "reasoning_content",
    "thinking",
    "redacted_thinking",
    "thought",
}


class EmptyAnswerError(MoAError):
    """A model gave no text."""

    def __init__(self, answer: AIMessage) -> None:
        words = _read_refusal(answer)
        super().__init__(
            f"empty answer (finish reason: {read_finish_reason(answer)}){words and f': {words}'}"
        )


class FailedAnswerError(MoAError):
    """An answer ended in an error, as its finish reason says; what there is of it is a part."""

    def __init__(self, answer: AIMessage) -> None:
        reason, words = read_finish_reason(answer), _read_refusal(answer)
        super().__init__(
            f"the answer ended in an error (finish reason: {reason}){words and f': {words}'}"
        )


def check_answer(answer: AIMessage, text: str) -> None:
    """Refuse an answer that is none.

    Args:
        answer: What a model gave.
        text: What is left of it without thoughts, or what stands for a text.

    Raises:
        FailedAnswerError: If it ended in an error.
        EmptyAnswerError: If it has no text.
    """
    if read_ending(read_finish_reason(answer)) == "failed":
        raise FailedAnswerError(answer)
    if not text.strip():
        raise EmptyAnswerError(answer)


class InvalidSelectionError(MoAError):
    """A model named none of the responses that it was to pick one of."""

    def __init__(self, text: str, count: int) -> None:
        shown_text = (
            text if len(text) <= MAX_QUOTED_REPLY_CHARS else f"{text[:MAX_QUOTED_REPLY_CHARS]}…"
        )
        super().__init__(
            f"expected the number of one of {count} responses alone, got {shown_text!r}"
        )


def to_message(output: Any) -> AIMessage:
    """Find the answer in what a runnable gave: a message, a text, or a graph's state.

    Raises:
        TypeError: If there is no answer in it.
    """
    if isinstance(output, dict) and output.get("messages"):
        output = _load_message(output["messages"][-1])
    if isinstance(output, str):
        return AIMessage(output)
    if isinstance(output, AIMessageChunk):
        output = message_chunk_to_message(output)
    if not isinstance(output, AIMessage):
        raise TypeError(f"expected the model to give an AIMessage, got {type(output).__name__}")
    return output


class OutputUsage(NamedTuple):
    """The tokens behind an output; `None` where the models did not say."""

    usage: dict[str, Any] | None
    """Of the calls that were made."""
    saved_usage: dict[str, Any] | None
    """Of the calls whose answers came from LangChain's cache, when they were made."""
    is_cached: bool
    """Whether all answers came from there."""


def read_usage(output: Any) -> OutputUsage:
    """Sum the tokens behind an output: those of one call, or of all calls of a graph's turn."""
    messages = output.get("messages", ()) if isinstance(output, dict) else (output,)
    loaded = takewhile(
        lambda message: not isinstance(message, HumanMessage), map(_load_message, messages[::-1])
    )
    answers = [message for message in loaded if isinstance(message, AIMessage)]
    hits = [answer for answer in answers if _is_cache_hit(answer)]
    made = [answer for answer in answers if not _is_cache_hit(answer)]
    is_cached = bool(hits and not made)
    usage = {**ZERO_USAGE} if is_cached else _sum_usages(made)
    return OutputUsage(usage, _sum_usages(hits), is_cached)


def sum_usage(output: Any) -> dict[str, Any] | None:
    """Sum the tokens of the calls that an output took; see `read_usage`."""
    return read_usage(output).usage


def _is_cache_hit(answer: AIMessage) -> bool:
    """Tell whether an answer is from LangChain's cache, which marks it so."""
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
    """Give a message of a graph's state, which a graph on a server gives as a mapping."""
    if isinstance(value, dict) and "type" in value:
        return messages_from_dict([{"type": value["type"], "data": value}])[0]
    return value


def parse_selected_number(answer: AIMessage, count: int, responses: Sequence[str] = ()) -> int:
    """Read the number of a response that a model selected.

    It is the argument of a tool call or of JSON, or stands alone (2, 2., **2**, "Response 2"), or
    begins the text ("2. It is right"), or is the only one that the text says it picks ("I'd go
    with 2", "Response 2 is the best, because 1 is wrong").

    Args:
        answer: Its whole reply, thoughts aside.
        count: How many responses there are.
        responses: Their texts. A reply that puts the number of one before the text of another
            selects none.

    Raises:
        InvalidSelectionError: If the reply picks none of them, or several, or finds fault with the
            one that it picks, or praises another.
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
    """Give the numbers that a reply gives to the tool for it."""
    arguments = [
        str(call["args"].get(SELECTION_FIELD, ""))
        for call in answer.tool_calls
        if call["name"] == SELECTION_NAME
    ]
    return {int(each) for each in arguments if re.fullmatch(r"[0-9]{1,4}", each)}


def read_finish_reason(answer: AIMessage) -> str | None:
    """Read why the model stopped, under whichever key its provider puts it."""
    metadata = answer.response_metadata
    keys = ("finish_reason", "stop_reason", "stopReason", "done_reason")
    reason = next((str(metadata[key]) for key in keys if metadata.get(key)), None)
    details = metadata.get("incomplete_details")  # of OpenAI's Responses
    if isinstance(details, dict) and details.get("reason"):
        reason = str(details["reason"])
    elif reason is None and metadata.get("status") in {"failed", "incomplete", "cancelled"}:
        reason = str(metadata["status"])
    return single_reason(reason) if reason else None


def _read_refusal(answer: AIMessage) -> str:
    """Give what a provider says about why there is no answer, in its words; empty if nothing."""
    blocks = answer.content if isinstance(answer.content, list) else ()
    said = [each.get("refusal") for each in blocks if isinstance(each, dict)]
    metadata = answer.response_metadata
    told = (
        *(answer.additional_kwargs.get("refusal"), *said),
        *(metadata.get("refusal"), metadata.get("stop_details"), metadata.get("prompt_feedback")),
    )
    words = next((each for each in told if each), "")
    text = words if isinstance(words, str) else json.dumps(words, default=str, ensure_ascii=False)
    text = replace_surrogates(text)
    return text if len(text) <= MAX_REFUSAL_CHARS else f"{text[:MAX_REFUSAL_CHARS]}…"


def content_without_reasoning(answer: AIMessage) -> str | list[str | dict[str, Any]]:
    """Give the content of a final answer without thoughts: the next turn shows it to others.

    What is longer than any answer is cut, and says so.

    A call of a tool keeps them, for its provider wants them back with the tool's result.
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
    # A thought may extend over several blocks: one block takes the place of them all.
    others = [b for b in blocks if isinstance(b, dict) and b.get("type") != "text"]
    return [{"type": "text", "text": text}, *others]


def _strip_tagged_reasoning(text: str) -> str:
    stripped = strip_thoughts(text)
    text = replace_surrogates(text)
    return text if stripped == text.strip() else stripped
