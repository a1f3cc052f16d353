"""Between OpenAI's JSON and LangChain's messages. Pure functions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage

from moa_graph.deprecated import with_old_keys
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.finish_reasons import read_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.server.openai_requests import RequestMessage

JsonObject = dict[str, Any]

_MESSAGE_CLASSES: dict[str, type[SystemMessage | HumanMessage | AIMessage]] = {
    "system": SystemMessage,
    "developer": SystemMessage,  # a word of OpenAI's, which other providers refuse
    "user": HumanMessage,
    "assistant": AIMessage,
}
_FINISH_REASONS = {
    "cut": "length",
    "filtered": "content_filter",
    "refused": "content_filter",
}
"""OpenAI's word for how an answer ended; for all others it is `stop`."""
_SUMMARY_KEYS = ("layers", "asked", "answered", "failed", "errors", "aggregator", "usage_unknown")


def to_langchain_messages(messages: Sequence[RequestMessage]) -> list[AnyMessage]:
    """Turn a conversation into LangChain's messages; images stay as they are."""
    return [_to_langchain_message(message) for message in messages]


def _to_langchain_message(message: RequestMessage) -> AnyMessage:
    content: Any = message.content
    if not isinstance(content, str):
        content = [part.model_dump(exclude_none=True) for part in content]
    return _MESSAGE_CLASSES[message.role](content=content, name=message.name)


@dataclass(frozen=True)
class CompletionEnvelope:
    """What all parts of one answer say of themselves."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def wrap_completion(self, answer: AIMessage) -> JsonObject:
        """Wrap a whole answer."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": openai_finish_reason(answer)}
        return self._wrap_choices("chat.completion", [choice | {"logprobs": None}]) | {
            "usage": openai_usage(answer),
            "moa": moa_extension(answer),
        }

    def wrap_chunk(self, delta: JsonObject, answer: AIMessage | None = None) -> JsonObject:
        """Wrap a piece of an answer; the last one knows the whole."""
        reason = openai_finish_reason(answer) if answer else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        more = {"moa": moa_extension(answer)} if answer else {}
        return self._wrap_choices("chat.completion.chunk", [choice]) | more

    def wrap_usage(self, answer: AIMessage) -> JsonObject:
        """Tell the tokens of a run whose answer was streamed."""
        return self._wrap_choices("chat.completion.chunk", []) | {"usage": openai_usage(answer)}

    def _wrap_choices(self, kind: str, choices: list[JsonObject]) -> JsonObject:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def openai_finish_reason(answer: AIMessage) -> str:
    """Say in OpenAI's words why an answer ended."""
    return _FINISH_REASONS.get(read_ending(read_finish_reason(answer)), "stop")


def openai_usage(answer: AIMessage) -> JsonObject | None:
    """Sum the tokens of all calls of a run, or `None` if nobody said."""
    total = (answer.response_metadata.get("moa") or {}).get("usage")
    if not total:
        return None
    read, written = total.get("input_token_details") or {}, total.get("output_token_details") or {}
    return {
        "prompt_tokens": total["input_tokens"],
        "completion_tokens": total["output_tokens"],
        "total_tokens": total["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": read.get("cache_read") or 0},
        "completion_tokens_details": {"reasoning_tokens": written.get("reasoning") or 0},
    }


def moa_extension(answer: AIMessage) -> JsonObject:
    """Tell how an answer came about: the extension `moa`."""
    summary = dict(read_run_summary(answer) or {})
    known = {key: summary[key] for key in _SUMMARY_KEYS if key in summary}
    if not known.get("errors"):  # some clients look for the word in a stream
        known.pop("errors", None)
    return with_old_keys(known)
