"""Normalize responses of servers for `ChatOpenAI`: roles, tokens, finish reasons, surrogates.

Completions and chunks are changed in place, because they are read only once.
"""

import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from moa_graph.models.partial_answers import (
    PartialAnswer,
    UnfinishedAnswerError,
    attach_partial_answer,
    find_partial_answer,
)
from moa_graph.prompting.choices import COUNTED_CHOICES
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.thoughts import ThoughtFilter, has_unopened_thought
from moa_graph.prompting.usage import clean_openai_usage, clean_usage, merge_openai_usages

MAX_MODELS = 1024  # models whose habits are remembered
MAX_DETAIL_CHARS = 500  # characters of a provider's error details

MAX_STREAMED_CHARS = 10_000_000
"""Characters after which a stream is stopped, including reasoning and tool call arguments."""

_FILTER_DETAILS = ("content_filter_results", "content_filter_result", "content_filter")
_REASONING_FIELDS = ("reasoning_content", "reasoning")
_THOUGHT_END = re.compile("</think>", re.IGNORECASE)


def normalize_completion(completion: Any, *, keep_reasoning: bool = False) -> Any:
    """Normalize a completion for `ChatOpenAI`; other values stay.

    Args:
        completion: The completion.
        keep_reasoning: Whether separate reasoning, which `ChatOpenAI` would drop, is inserted
            before the text between tags.

    Raises:
        UnfinishedAnswerError: If the completion reports an error.
    """
    if not isinstance(completion, dict):
        return completion
    if "usage" in completion:
        completion["usage"] = clean_openai_usage(completion["usage"])
    choices = list(iter_mappings(completion, "choices"))
    if len(choices) > 1:
        _prepare_choices(choices, completion)
    for choice in choices:
        message = choice.get("message")
        if not isinstance(message, dict):
            continue
        message["role"] = "assistant"
        if error := choice.get("error") or message.get("error"):
            _raise_error(error, _to_text(message.get("content")), completion.get("usage"), choice)
        if not message.get("content") and not message.get("refusal"):
            message["refusal"] = _describe_filter(choice, completion)
        elif keep_reasoning:
            _put_reasoning_in_front(message)
    return completion


def _put_reasoning_in_front(message: dict[str, Any]) -> None:
    reasoning = _find_reasoning(message)
    if reasoning.strip() and isinstance(text := message.get("content"), str):
        message["content"] = f"<think>{_THOUGHT_END.sub('', reasoning)}</think>\n{text}"


def _find_reasoning(message: Mapping[str, Any]) -> str:
    """Return the reasoning of a message or of a chunk's delta."""
    told = (message.get(name) for name in _REASONING_FIELDS)
    return next((each for each in told if isinstance(each, str) and each), "")


def read_error_words(body: Mapping[str, Any]) -> str | None:
    """Return the error text of a body or chunk; `None` if it is, or may be, an answer."""
    error = body.get("error")
    if "choices" in body and not error:
        return None
    words = error.get("message") if isinstance(error, Mapping) else None
    message = each if isinstance(each := body.get("message"), str) else None
    is_error = body.get("object") == "error" or body.get("type") == "error"
    told = words or error or message or body.get("detail") or (body if is_error else None)
    return shorten(told) if told else None


def _prepare_choices(choices: Sequence[dict[str, Any]], completion: dict[str, Any]) -> None:
    """Handle each choice separately: a failed choice does not fail the others."""
    usage, timings = completion.get("usage") or {}, completion.get("timings") or {}
    if timings and timings.get("predicted_n") == usage.get("completion_tokens"):
        usage[COUNTED_CHOICES] = 1  # llama.cpp counts only the first choice
    for choice in choices:
        message = choice.get("message")
        choice["message"] = message = message if isinstance(message, dict) else {}
        message.setdefault("content", None)
        if error := choice.pop("error", None) or message.pop("error", None):
            choice["finish_reason"], message["refusal"] = "error", _error_words(error)


def iter_mappings(value: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a list in a mapping that are mappings."""
    each = value.get(name) if isinstance(value, dict) else None
    return (item for item in (each if isinstance(each, list) else ()) if isinstance(item, dict))


@dataclass
class ThoughtHabit:
    """Observations about reasoning in earlier answers of a model."""

    opens_in_prompt: bool = False
    """Whether reasoning begins in the prompt, where the chat template puts the opening tag."""
    is_given: bool = False
    """Whether that is configured and not observed."""

    def learn(self, text_filter: ThoughtFilter) -> None:
        """Record a completed answer."""
        self._record_start(opens_in_prompt=text_filter.was_opened_in_prompt)

    def learn_from_completion(self, completion: Any) -> None:
        """Record the texts of a completion."""
        for choice in iter_mappings(completion, "choices"):
            message = choice.get("message")
            if isinstance(message, dict) and isinstance(text := message.get("content"), str):
                self._record_start(opens_in_prompt=has_unopened_thought(text))

    def _record_start(self, *, opens_in_prompt: bool) -> None:
        if not self.is_given:
            self.opens_in_prompt = opens_in_prompt


@lru_cache(maxsize=MAX_MODELS)
def thought_habit(*_: Hashable) -> ThoughtHabit:
    """Return the habit of a model in this process, by its server and name."""
    return ThoughtHabit()


class ChunkNormalizer:
    """Normalizes the chunks of one stream so that `ChatOpenAI` merges them correctly.

    Args:
        habit: Observations about earlier streams of the model; this stream is added.
        keep_reasoning: Whether reasoning stays in the text, between tags.
    """

    def __init__(self, habit: ThoughtHabit | None = None, *, keep_reasoning: bool = False) -> None:
        self._habit, self._keeps_reasoning = habit or ThoughtHabit(), keep_reasoning
        self._is_in_reasoning = False
        self._text_filter = ThoughtFilter(starts_in_thought=self._habit.opens_in_prompt)
        self._parts = list[str]()
        self._refusals = list[str]()
        self._filter_details: str | None = None
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._last_chunk: dict[str, Any] = {}
        self._has_tool_calls = False
        self._received_chars = 0

    @property
    def is_full(self) -> bool:
        """Whether the stream is longer than any answer and may never end."""
        return self._received_chars > MAX_STREAMED_CHARS

    def normalize(self, chunk: Any) -> Iterator[Any]:
        """Process a chunk, and return the chunk to emit now.

        Raises:
            UnfinishedAnswerError: If it reports that the answer ended in an error.
        """
        if not isinstance(chunk, dict):
            yield chunk
            return
        if words := read_error_words(chunk):
            raise UnfinishedAnswerError(f"the answer ended in an error: {words}")
        self._last_chunk = chunk
        has_usage = self._take_usage(chunk)
        choices = list(iter_mappings(chunk, "choices"))
        first = [each for each in choices if not each.get("index")]
        for choice in first:
            self._normalize_choice(choice, chunk)
        if len(first) < len(choices):  # `ChatOpenAI` would merge several answers
            chunk["choices"] = first
        if first or not (has_usage or choices):
            yield chunk

    def finish(self, *, is_done: bool) -> Iterator[Any]:
        """Return the remaining chunk at the end of a stream.

        Args:
            is_done: Whether the stream ended with `[DONE]`.

        Raises:
            UnfinishedAnswerError: If the stream ended before the answer, or without one.
        """
        rest = self._text_filter.finish()
        self._habit.learn(self._text_filter)
        if stopped := self.is_full and not self._finish_reason:
            rest += f"\n[stopped here: more than {MAX_STREAMED_CHARS:,} characters]"
        if not stopped and not self._finish_reason and not is_done:
            error = UnfinishedAnswerError(
                "the answer broke off: the stream ended without a finish reason"
            )
            self._parts.append(rest)
            self.attach_partial(error)
            raise error
        self._parts.append(rest)
        if self._keeps_reasoning and not stopped:
            rest = self._close_reasoning()  # the rest is already emitted
        if rest:
            reason = self._take_finish_reason("length") if stopped else None
            yield self._wrap_choices(
                [{"index": 0, "delta": {"content": rest}, "finish_reason": reason}]
            )
        self._check_refusal()
        if self._usage:
            yield self._wrap_choices([]) | {"usage": self._usage}

    def attach_partial(self, error: BaseException) -> None:
        """Attach the partial answer to an error, unless it has one."""
        if find_partial_answer(error):
            return
        partial = PartialAnswer(
            "".join(self._parts).strip(), clean_usage(self._usage), self._finish_reason
        )
        attach_partial_answer(error, partial)

    def _wrap_choices(self, choices: list[Any]) -> dict[str, Any]:
        names = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
        known = {name: self._last_chunk[name] for name in names if name in self._last_chunk}
        return {**known, "choices": choices}

    def _take_usage(self, chunk: dict[str, Any]) -> bool:
        """Store a total of tokens, which `ChatOpenAI` would add to those of other chunks."""
        told = chunk.pop("usage", None)
        if isinstance(told, Mapping) and told:
            merged = merge_openai_usages(self._usage or {}, told)
            self._usage = clean_openai_usage(merged) or self._usage
        return told is not None

    def _normalize_choice(self, choice: dict[str, Any], chunk: dict[str, Any]) -> None:
        reason = choice.get("finish_reason")
        choice["finish_reason"] = self._take_finish_reason(reason)
        self._filter_details = self._filter_details or _describe_filter(choice, chunk)
        delta = choice.setdefault("delta", None)
        if isinstance(delta, dict):
            self._normalize_delta(delta)
        if error := choice.get("error"):
            _raise_error(error, "".join(self._parts), self._usage, choice)

    def _take_finish_reason(self, reason: object) -> str | None:
        """Return a finish reason only once: `ChatOpenAI` would concatenate repeated ones."""
        if not isinstance(reason, str) or not reason:
            return None
        is_first, self._finish_reason = not self._finish_reason, self._finish_reason or reason
        return reason if is_first else None

    def _normalize_delta(self, delta: dict[str, Any]) -> None:
        if "role" in delta:
            delta["role"] = "assistant"
        if any(delta.get(name) for name in _REASONING_FIELDS):
            self._text_filter.expect_answer()
        self._received_chars += _count_chars(delta)
        if text := _to_text(delta.get("content")):
            delta["content"] = shown = self._text_filter.feed(text)
            self._parts.append(shown)
        if self._keeps_reasoning and (kept := self._tag_reasoning(delta) + self._open_answer(text)):
            delta["content"] = kept
        if isinstance(refusal := delta.get("refusal"), str):
            self._refusals.append(refusal)
        for call in iter_mappings(delta, "tool_calls"):
            self._has_tool_calls = True
            call.setdefault("index", None)
            call.setdefault("function", {})

    def _tag_reasoning(self, delta: Mapping[str, Any]) -> str:
        """Return separate reasoning of a chunk, after an opening tag if it is the first."""
        told = _THOUGHT_END.sub("", _find_reasoning(delta))
        opening = "<think>" if told and not self._is_in_reasoning else ""
        self._is_in_reasoning = self._is_in_reasoning or bool(told)
        return f"{opening}{told}"

    def _open_answer(self, text: str) -> str:
        """Return a text of the answer, after a closing tag if reasoning came before."""
        return f"{self._close_reasoning()}\n{text}" if text and self._is_in_reasoning else text

    def _close_reasoning(self) -> str:
        is_open, self._is_in_reasoning = self._is_in_reasoning, False
        return "</think>" if is_open else ""

    def _check_refusal(self) -> None:
        """Raise a provider's explanation of an empty answer, which LangChain drops."""
        words = shorten("".join(self._refusals)) or self._filter_details
        if words and not self._has_tool_calls and not "".join(self._parts).strip():
            reason = self._finish_reason
            error = UnfinishedAnswerError(f"empty answer (finish reason: {reason}): {words}")
            self.attach_partial(error)
            raise error


def _count_chars(delta: Mapping[str, Any]) -> int:
    """Count the characters that a chunk adds; arguments of tool calls are texts in a list."""
    calls = [each.get("function") for each in iter_mappings(delta, "tool_calls")]
    texts = [*delta.values(), *(each.get("arguments") for each in calls if isinstance(each, dict))]
    return sum(len(text) for text in texts if isinstance(text, str))


def _raise_error(error: Any, text: str, usage: Any, choice: Mapping[str, Any]) -> NoReturn:
    failure = UnfinishedAnswerError(f"the answer ended in an error: {_error_words(error)}")
    reason = choice.get("finish_reason")
    partial = PartialAnswer(text.strip(), clean_usage(usage), reason and str(reason))
    attach_partial_answer(failure, partial)
    raise failure


def _error_words(error: Any) -> str:
    words = error.get("message") if isinstance(error, dict) else None
    return shorten(words or error)


def _describe_filter(*holders: Mapping[str, Any]) -> str | None:
    """Return a provider's content filter result, if the filter found something."""
    names = (*_FILTER_DETAILS, "prompt_filter_results")
    told = [holder[name] for holder in holders for name in names if holder.get(name)]
    found = [each for each in told if _has_findings(each)]
    return f"content filter: {shorten(found[0])}" if found else None


def _has_findings(details: Any) -> bool:
    text = json.dumps(details, default=str).replace(" ", "").lower()
    return '"filtered":true' in text or '"detected":true' in text or '"error":' in text


def _to_text(content: Any) -> str:
    return content if isinstance(content, str) else ""


def shorten(value: Any) -> str:
    """Format a provider's message, limited in length."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = replace_surrogates(text)
    return text if len(text) <= MAX_DETAIL_CHARS else f"{text[:MAX_DETAIL_CHARS]}…"
