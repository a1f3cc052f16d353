"""What servers answer, as `ChatOpenAI` reads it right: roles, tokens, ends, halves of characters.

A completion and a stream of chunks alike are changed in their place; they are read only once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from moa_graph.models.partial_answers import (
    PartialAnswer,
    UnfinishedAnswerError,
    attach_partial_answer,
    find_partial_answer,
)
from moa_graph.prompting.choices import COUNTED_CHOICES
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.thoughts import ThoughtFilter
from moa_graph.prompting.usage import clean_openai_usage, clean_usage, merge_openai_usages

MAX_DETAIL_CHARS = 500  # characters of a provider's details that are repeated

MAX_STREAMED_CHARS = 10_000_000
"""Characters, thoughts and arguments of calls among them, after which a stream is stopped."""

_FILTER_DETAILS = ("content_filter_results", "content_filter_result", "content_filter")
_REASONING_FIELDS = ("reasoning_content", "reasoning")


def normalize_completion(completion: Any) -> Any:
    """Make a whole completion one that `ChatOpenAI` reads right; other values stay.

    Raises:
        UnfinishedAnswerError: If it says that it ended in an error.
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
    return completion


def read_error_words(body: Mapping[str, Any]) -> str | None:
    """Give what a body, or a chunk, says of an error; `None` if it is, or may be, an answer."""
    error = body.get("error")
    if "choices" in body and not error:
        return None
    words = error.get("message") if isinstance(error, Mapping) else None
    message = each if isinstance(each := body.get("message"), str) else None
    is_error = body.get("object") == "error" or body.get("type") == "error"
    told = words or error or message or body.get("detail") or (body if is_error else None)
    return shorten(told) if told else None


def _prepare_choices(choices: Sequence[dict[str, Any]], completion: dict[str, Any]) -> None:
    """Have each choice be read by itself: one that failed does not end the others."""
    usage, timings = completion.get("usage") or {}, completion.get("timings") or {}
    if timings and timings.get("predicted_n") == usage.get("completion_tokens"):
        usage[COUNTED_CHOICES] = 1  # llama.cpp counts only the first one
    for choice in choices:
        message = choice.get("message")
        choice["message"] = message = message if isinstance(message, dict) else {}
        message.setdefault("content", None)
        if error := choice.pop("error", None) or message.pop("error", None):
            choice["finish_reason"], message["refusal"] = "error", _error_words(error)


def iter_mappings(value: Any, name: str) -> Iterator[dict[str, Any]]:
    """Give those items of a list in a mapping that are mappings themselves."""
    each = value.get(name) if isinstance(value, dict) else None
    return (item for item in (each if isinstance(each, list) else ()) if isinstance(item, dict))


@dataclass
class ThoughtHabit:
    """What earlier streams of a model have shown."""

    opens_in_prompt: bool = False
    """Whether its thoughts begin in the prompt, where its chat template puts the opening tag."""


class ChunkNormalizer:
    """Makes the chunks of one stream such that `ChatOpenAI` adds them up right.

    Args:
        habit: What earlier streams of the model have shown; this one is added.
    """

    def __init__(self, habit: ThoughtHabit | None = None) -> None:
        self._habit = habit or ThoughtHabit()
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
        """Whether the stream has brought more than any answer: it may have no end."""
        return self._received_chars > MAX_STREAMED_CHARS

    def normalize(self, chunk: Any) -> Iterator[Any]:
        """Take in a chunk, and give what is to be read now.

        Raises:
            UnfinishedAnswerError: If it says that the answer ended in an error.
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
        if len(first) < len(choices):  # `ChatOpenAI` would put several answers into one
            chunk["choices"] = first
        if first or not (has_usage or choices):
            yield chunk

    def finish(self, *, is_done: bool) -> Iterator[Any]:
        """Give what is left to be read when a stream has ended.

        Args:
            is_done: Whether it ended with `[DONE]`.

        Raises:
            UnfinishedAnswerError: If it ended before the answer did, or gave none.
        """
        rest = self._text_filter.finish()
        self._habit.opens_in_prompt = self._text_filter.was_opened_in_prompt
        if stopped := self.is_full and not self._finish_reason:
            rest += f"\n[stopped here: more than {MAX_STREAMED_CHARS:,} characters]"
        if not stopped and not self._finish_reason and not is_done:
            error = UnfinishedAnswerError(
                "the answer broke off: the stream ended without a finish reason"
            )
            self._parts.append(rest)
            self.attach_partial(error)
            raise error
        if rest:
            self._parts.append(rest)
            reason = self._take_finish_reason("length") if stopped else None
            yield self._wrap_choices(
                [{"index": 0, "delta": {"content": rest}, "finish_reason": reason}]
            )
        self._check_refusal()
        if self._usage:
            yield self._wrap_choices([]) | {"usage": self._usage}

    def attach_partial(self, error: BaseException) -> None:
        """Note on an error what came before it, unless that is known already."""
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
        """Take in a total of tokens, which `ChatOpenAI` would add to those of other chunks."""
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
        """Give a reason when it is told first; a second one is joined to it by `ChatOpenAI`."""
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
        if isinstance(text := delta.get("content"), str) and text:
            delta["content"] = shown = self._text_filter.feed(text)
            self._parts.append(shown)
        if isinstance(refusal := delta.get("refusal"), str):
            self._refusals.append(refusal)
        for call in iter_mappings(delta, "tool_calls"):
            self._has_tool_calls = True
            call.setdefault("index", None)
            call.setdefault("function", {})

    def _check_refusal(self) -> None:
        """Raise what a provider says about why there is no answer, which LangChain drops."""
        words = shorten("".join(self._refusals)) or self._filter_details
        if words and not self._has_tool_calls and not "".join(self._parts).strip():
            reason = self._finish_reason
            error = UnfinishedAnswerError(f"empty answer (finish reason: {reason}): {words}")
            self.attach_partial(error)
            raise error


def _count_chars(delta: Mapping[str, Any]) -> int:
    """Count what a chunk adds to an answer; arguments of calls are the texts in a list."""
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
    """Repeat what a provider's filter says, as far as it found something."""
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
    """Write what a provider says, as far as it is worth repeating."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = replace_surrogates(text)
    return text if len(text) <= MAX_DETAIL_CHARS else f"{text[:MAX_DETAIL_CHARS]}…"
