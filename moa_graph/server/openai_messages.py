"""Between OpenAI's JSON and LangChain's messages. Pure functions."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage

from moa_graph.prompting.parsing import finish_reason
from moa_graph.server.openai_requests import Message

Json = dict[str, Any]

_CLASSES: dict[str, type[SystemMessage | HumanMessage | AIMessage]] = {
    "system": SystemMessage,
    "developer": SystemMessage,  # a word of OpenAI's, which other providers refuse
    "user": HumanMessage,
    "assistant": AIMessage,
}
_REASONS = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}
"""OpenAI's word for why an answer ended, by its provider's; all others are `stop`."""
_BEGIN, _END = re.compile(r"\s*+<think>"), "</think>"
_ACCOUNT = ("layers", "asked", "received", "failed", "causes", "aggregator", "usage_unknown")


def to_langchain(messages: Sequence[Message]) -> list[AnyMessage]:
    """Turn a conversation into LangChain's messages; images stay as they are."""
    return [_to_langchain(message) for message in messages]


def _to_langchain(message: Message) -> AnyMessage:
    content: Any = message.content
    if not isinstance(content, str):
        content = [part.model_dump(exclude_none=True) for part in content]
    return _CLASSES[message.role](content=content, name=message.name)


@dataclass(frozen=True)
class Envelope:
    """What all parts of one answer say of themselves."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, answer: AIMessage) -> Json:
        """Wrap a whole answer."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": why_ended(answer)}
        return self._wrap("chat.completion", [choice | {"logprobs": None}]) | {
            "usage": usage(answer),
            "moa": account(answer),
        }

    def chunk(self, delta: Json, answer: AIMessage | None = None) -> Json:
        """Wrap a piece of an answer; the last one knows the whole."""
        reason = why_ended(answer) if answer else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        more = {"moa": account(answer)} if answer else {}
        return self._wrap("chat.completion.chunk", [choice]) | more

    def usage_chunk(self, answer: AIMessage) -> Json:
        """Tell the tokens of a run whose answer was streamed."""
        return self._wrap("chat.completion.chunk", []) | {"usage": usage(answer)}

    def _wrap(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def why_ended(answer: AIMessage) -> str:
    """Say in OpenAI's words why an answer ended."""
    return _REASONS.get((finish_reason(answer) or "").lower(), "stop")


def usage(answer: AIMessage) -> Json | None:
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


def account(answer: AIMessage) -> Json:
    """Tell how an answer came about: the extension `moa`."""
    told = answer.response_metadata.get("moa") or {}
    return {key: told[key] for key in _ACCOUNT if key in told}


class Spoken:
    """Leaves out of a stream what a model thinks, between tags, before it answers.

    A whole answer is rid of it elsewhere; see `answers.without_thoughts`.
    """

    def __init__(self) -> None:
        self._held = ""  # what may become a tag
        self._blanks = list[str]()  # in front of the answer
        self._thinks = self._thought = self._speaks = False

    def hear(self, text: str) -> str:
        """Take in a piece of what the model wrote, and give what of it may be shown now."""
        if self._speaks:
            return text
        text = self._held + text
        place = self._skip_thoughts(text)
        if self._thinks:
            self._held = text[max(place, len(text) - len(_END) + 1) :]
            return ""
        head = text[place:].lstrip()
        if "<think>".startswith(head):
            self._blanks.append(text[place : len(text) - len(head)])
            self._held = head
            return ""
        self._speaks = True
        return head if self._thought else "".join([*self._blanks, text])

    def _skip_thoughts(self, text: str) -> int:
        """Find where the thoughts of a piece end; the last may go on in the next one."""
        place = 0
        while True:
            if begin := None if self._thinks else _BEGIN.match(text, place):
                self._thinks = self._thought = True
                place = begin.end()
            if not self._thinks or (end := text.find(_END, place)) < 0:
                return place
            self._thinks, place = False, end + len(_END)
