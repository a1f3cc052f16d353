"""Conversion of LangChain's answers, shared by all OpenAI dialects."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk
from openai.types.chat.chat_completion import ChoiceLogprobs
from openai.types.completion_usage import CompletionUsage
from pydantic import ValidationError

from moa_graph.deprecated import with_old_keys
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.finish_reasons import read_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.prompting.usage import sum_usages
from moa_graph.server.json_types import JsonObject

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
UsageOf = Literal["run", "aggregator"]
"""Which tokens `usage` contains: those of the run, or of the aggregator."""

_FINISH_REASONS: dict[str, FinishReason] = {
    "cut": "length",
    "filtered": "content_filter",
    "refused": "content_filter",
}
"""OpenAI's finish reasons of incomplete answers; others are `stop` or `tool_calls`."""
_OTHER_USAGE: dict[UsageOf, tuple[str, UsageOf]] = {
    "run": ("aggregator_usage", "aggregator"),
    "aggregator": ("usage", "run"),
}
"""Keys of further token counts in `moa`, by the choice for `usage`."""
_SUMMARY_KEYS = (
    "layers",
    "asked",
    "answered",
    "failed",
    "errors",
    "aggregator",
    "usage_unknown",
    "reused_proposals",
    "degraded",
    "agreement",
    "depth",
    "selected",
    "vote",
    "analysis",
)


class CallPiece(NamedTuple):
    """A piece of a streamed tool call."""

    number: int
    """Index of the call in the answer, from 0."""
    id: str | None
    """Id of the call, only in its first piece."""
    name: str
    arguments: str


class CallNumbering:
    """Numbers the calls of a stream from 0: providers number all parts, or none."""

    def __init__(self) -> None:
        self._keys: list[int | str | None] = []  # identities of the calls

    @property
    def has_calls(self) -> bool:
        """Whether a call has started."""
        return bool(self._keys)

    def read_pieces(self, chunk: AIMessageChunk) -> Iterator[CallPiece]:
        """Return the call pieces in a chunk."""
        for piece in chunk.tool_call_chunks:
            key = piece["id"] if piece["index"] is None else piece["index"]
            name, arguments = piece["name"] or "", piece["args"] or ""
            if key is not None and key in self._keys:
                yield CallPiece(self._keys.index(key), None, name, arguments)
            else:
                self._keys.append(key)
                call_id = piece["id"] or _make_call_id()
                yield CallPiece(len(self._keys) - 1, call_id, name, arguments)


def openai_finish_reason(answer: AIMessage) -> FinishReason:
    """Return OpenAI's finish reason of an answer."""
    calls = bool(answer.tool_calls or answer.invalid_tool_calls)
    return to_openai_reason(read_finish_reason(answer), calls=calls)


def to_openai_reason(reason: str | None, *, calls: bool) -> FinishReason:
    """Convert a provider's finish reason to OpenAI's."""
    return _FINISH_REASONS.get(read_ending(reason), "tool_calls" if calls else "stop")


def openai_tool_calls(answer: AIMessage) -> list[JsonObject]:
    """Return the calls of an answer; arguments that are not valid JSON stay unchanged."""
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
    """Return the log-probabilities of an answer's tokens, if its provider returns them."""
    logprobs = answer.response_metadata.get("logprobs")
    if not isinstance(logprobs, Mapping):
        return None
    try:
        content = [_complete_token(each) for each in logprobs.get("content") or ()]
        logprobs = {"content": content, "refusal": None}
        return ChoiceLogprobs.model_validate(logprobs).model_dump(exclude_unset=True)
    except (ValidationError, TypeError):  # some servers use another format
        return None


def openai_usage(*answers: AIMessage, of: UsageOf = "run") -> CompletionUsage | None:
    """Return the tokens of runs, or of their aggregators only; `None` if they are unknown."""
    key = "usage" if of == "run" else "aggregator_usage"
    summaries = [answer.response_metadata.get("moa") or {} for answer in answers]
    usage = sum_usages(summary[key] for summary in summaries if summary.get(key))
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


def moa_extension(*answers: AIMessage, usage: UsageOf = "run") -> JsonObject:
    """Return the extension `moa`: the run summary, and the tokens that are not in `usage`.

    Args:
        *answers: The answers to one request. The first one has the summary of the proposals, which
            were requested for it.
        usage: Which tokens `usage` contains.
    """
    summary = dict(read_run_summary(answers[0]) or {})
    fields = {key: summary[key] for key in _SUMMARY_KEYS if key in summary}
    if not fields.get("errors"):  # some clients search streams for the word
        fields.pop("errors", None)
    name, of = _OTHER_USAGE[usage]
    other = openai_usage(*answers, of=of)
    return with_old_keys(fields) | {name: other and other.model_dump(exclude_unset=True)}


def _complete_token(token: Mapping[str, Any]) -> JsonObject:
    top = [{"bytes": None, **each} for each in token.get("top_logprobs") or ()]
    return {"bytes": None, **token, "top_logprobs": top}


def _write_arguments(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments or {}, ensure_ascii=False)


def _make_call_id() -> str:
    return f"call_{uuid4().hex}"
