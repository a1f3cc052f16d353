"""From LangChain's answers to OpenAI's: a completion, or its chunks."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.chat_completion import ChoiceLogprobs
from openai.types.completion_usage import CompletionUsage
from pydantic import ValidationError

from moa_graph.deprecated import with_old_keys
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.finish_reasons import read_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.server.json_types import JsonObject
from moa_graph.server.service import ApiOptions

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

_FINISH_REASONS: dict[str, FinishReason] = {
    "cut": "length",
    "filtered": "content_filter",
    "refused": "content_filter",
}
"""OpenAI's word for how an answer ended; for all others it is `stop`, or `tool_calls`."""
_SUMMARY_KEYS = (
    "layers",
    "asked",
    "answered",
    "failed",
    "errors",
    "aggregator",
    "usage_unknown",
    "reused_proposals",
)


@dataclass(frozen=True)
class CompletionEnvelope:
    """What all parts of one answer say of themselves."""

    model: str
    usage: Literal["run", "aggregator"] = ApiOptions.usage
    """Whose tokens `usage` is; those of the other are in `moa`."""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def wrap_completion(self, answer: AIMessage) -> ChatCompletion:
        """Wrap a whole answer."""
        calls = openai_tool_calls(answer)
        message: JsonObject = {"role": "assistant", "content": answer.text, "refusal": None}
        if calls:
            message |= {"content": answer.text or None, "tool_calls": calls}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": openai_finish_reason(answer),
            "logprobs": openai_logprobs(answer),
        }
        return ChatCompletion.model_validate(
            self._wrap_choices("chat.completion", [choice])
            | {"usage": self._usage(answer), "moa": self._extension(answer)}
        )

    def wrap_chunk(
        self, delta: JsonObject, logprobs: JsonObject | None = None
    ) -> ChatCompletionChunk:
        """Wrap a piece of an answer."""
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        return ChatCompletionChunk.model_validate(
            self._wrap_choices("chat.completion.chunk", [choice])
        )

    def wrap_end(self, summary: AIMessage, reason: FinishReason) -> ChatCompletionChunk:
        """Make the chunk that says why an answer ended, and how it came about."""
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
        return ChatCompletionChunk.model_validate(
            self._wrap_choices("chat.completion.chunk", [choice])
            | {"moa": self._extension(summary)}
        )

    def wrap_usage(self, summary: AIMessage) -> ChatCompletionChunk:
        """Tell the tokens of a run whose answer was streamed."""
        return ChatCompletionChunk.model_validate(
            self._wrap_choices("chat.completion.chunk", []) | {"usage": self._usage(summary)}
        )

    def _usage(self, answer: AIMessage) -> CompletionUsage | None:
        return openai_usage(answer, of=self.usage)

    def _extension(self, answer: AIMessage) -> JsonObject:
        """Tell how an answer came about, and whose tokens are not in `usage`."""
        if self.usage == "aggregator":
            name, other = "usage", openai_usage(answer, of="run")
        else:
            name, other = "aggregator_usage", openai_usage(answer, of="aggregator")
        return moa_extension(answer) | {name: other and other.model_dump(exclude_unset=True)}

    def _wrap_choices(self, kind: str, choices: list[JsonObject]) -> JsonObject:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


class ChunkTranslator:
    """Turns the chunks of a mixture's answer into OpenAI's."""

    def __init__(self, envelope: CompletionEnvelope) -> None:
        self._envelope = envelope
        self._calls: list[int | str | None] = []  # what tells the calls of an answer apart
        self._reason: str | None = None

    def start(self) -> ChatCompletionChunk:
        """Make the first chunk."""
        return self._envelope.wrap_chunk({"role": "assistant", "content": ""})

    def translate(self, chunk: AIMessageChunk) -> Iterator[ChatCompletionChunk]:
        """Turn a chunk into those that say the same; the last one ends the answer."""
        delta: JsonObject = {"content": chunk.text} if chunk.text else {}
        if calls := list(self._translate_calls(chunk)):
            delta["tool_calls"] = calls
        logprobs = openai_logprobs(chunk)
        if delta or logprobs:
            yield self._envelope.wrap_chunk(delta, logprobs)
        self._reason = read_finish_reason(chunk) or self._reason
        if read_run_summary(chunk):
            reason = to_openai_reason(self._reason, calls=bool(self._calls))
            yield self._envelope.wrap_end(chunk, reason)

    def _translate_calls(self, chunk: AIMessageChunk) -> Iterator[JsonObject]:
        """Number calls from 0, as OpenAI does; others count all parts of an answer, or none."""
        for piece in chunk.tool_call_chunks:
            key = piece["id"] if piece["index"] is None else piece["index"]
            function: JsonObject = {"arguments": piece["args"] or ""}
            if key is not None and key in self._calls:
                yield {"index": self._calls.index(key), "function": function}
                continue
            self._calls.append(key)
            function["name"] = piece["name"] or ""
            call_id = piece["id"] or _make_call_id()
            index = len(self._calls) - 1
            yield {"index": index, "id": call_id, "type": "function", "function": function}


def openai_finish_reason(answer: AIMessage) -> FinishReason:
    """Say in OpenAI's words why an answer ended."""
    calls = bool(answer.tool_calls or answer.invalid_tool_calls)
    return to_openai_reason(read_finish_reason(answer), calls=calls)


def to_openai_reason(reason: str | None, *, calls: bool) -> FinishReason:
    """Put a provider's word for why an answer ended into OpenAI's."""
    return _FINISH_REASONS.get(read_ending(reason), "tool_calls" if calls else "stop")


def openai_tool_calls(answer: AIMessage) -> list[JsonObject]:
    """Give the calls of an answer; those with arguments that are no JSON as they were written."""
    calls: Iterable[Mapping[str, Any]] = (*answer.tool_calls, *answer.invalid_tool_calls)
    return [
        {
            "id": call["id"] or _make_call_id(),
            "type": "function",
            "function": {"name": call["name"] or "", "arguments": _write_arguments(call["args"])},
        }
        for call in calls
    ]


def openai_logprobs(answer: AIMessage) -> JsonObject | None:
    """Give the log-probabilities of an answer's tokens, where its provider tells them."""
    logprobs = answer.response_metadata.get("logprobs")
    if not isinstance(logprobs, Mapping):
        return None
    try:
        content = [_complete_token(each) for each in logprobs.get("content") or ()]
        logprobs = {"content": content, "refusal": None}
        return ChoiceLogprobs.model_validate(logprobs).model_dump(exclude_unset=True)
    except (ValidationError, TypeError):  # some servers have a form of their own
        return None


def openai_usage(
    answer: AIMessage, *, of: Literal["run", "aggregator"] = "run"
) -> CompletionUsage | None:
    """Give the tokens of a run, or of its aggregator alone; `None` if nobody said."""
    key = "usage" if of == "run" else "aggregator_usage"
    usage = (answer.response_metadata.get("moa") or {}).get(key)
    if not usage:
        return None
    read, written = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    return CompletionUsage.model_validate(
        {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
            "prompt_tokens_details": {"cached_tokens": read.get("cache_read") or 0},
            "completion_tokens_details": {"reasoning_tokens": written.get("reasoning") or 0},
        }
    )


def moa_extension(answer: AIMessage) -> JsonObject:
    """Tell how an answer came about: the extension `moa`."""
    summary = dict(read_run_summary(answer) or {})
    known = {key: summary[key] for key in _SUMMARY_KEYS if key in summary}
    if not known.get("errors"):  # some clients look for the word in a stream
        known.pop("errors", None)
    return with_old_keys(known)


def _complete_token(token: Mapping[str, Any]) -> JsonObject:
    top = [{"bytes": None, **each} for each in token.get("top_logprobs") or ()]
    return {"bytes": None, **token, "top_logprobs": top}


def _write_arguments(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments or {}, ensure_ascii=False)


def _make_call_id() -> str:
    return f"call_{uuid4().hex}"
