"""Convert LangChain's answers to Anthropic's messages and stream events."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal
from uuid import uuid4

from anthropic.types import Message, RawMessageStreamEvent
from langchain_core.messages import AIMessage, AIMessageChunk
from pydantic import TypeAdapter
from pydantic_core import to_json

from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.finish_reasons import read_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.server.anthropic_blocks import BlockStream
from moa_graph.server.errors import ApiError, anthropic_error_body
from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_answers import CallNumbering, UsageOf, moa_extension
from moa_graph.server.responses import ServerEvent

StopReason = Literal["end_turn", "max_tokens", "refusal", "stop_sequence", "tool_use"]

_STOP_REASONS: dict[str, StopReason] = {
    "cut": "max_tokens",
    "filtered": "refusal",
    "refused": "refusal",
}
"""Anthropic's stop reasons of incomplete answers."""
_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_NO_USAGE = {"input_tokens": 0, "output_tokens": 0}
PING = ServerEvent('{"type": "ping"}', "ping")


class MessageFormat:
    """Formats an answer as Anthropic does, complete or as a stream."""

    def __init__(self, model: str, usage: UsageOf, request_id: str | None) -> None:
        self._usage_of, self._request_id = usage, request_id
        self._envelope = {
            "id": f"msg_{uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": model,
        }
        self._blocks, self._numbering = BlockStream(), CallNumbering()
        self._reason: str | None = None
        self._stop_sequence: str | None = None

    def format_answers(self, answers: Sequence[AIMessage]) -> str:
        """Return the JSON of a complete answer."""
        (answer,) = answers
        text: list[JsonObject] = [{"type": "text", "text": answer.text}] if answer.text else []
        calls = [
            {
                "type": "tool_use",
                "id": call["id"] or f"toolu_{uuid4().hex}",
                "name": call["name"],
                "input": call["args"],
            }
            for call in answer.tool_calls
        ]
        self._note_ending(answer)
        fields = {
            **self._envelope,
            "content": [*text, *calls],
            **self._ending(calls=bool(calls)),
            "usage": self._usage(answer),
            "moa": self._extension(answer),
        }
        return Message.model_validate(fields).model_dump_json(exclude_unset=True)

    def start(self) -> Iterable[ServerEvent]:
        """Return the first events of a stream; token counts are not known yet."""
        nothing: JsonObject = {"content": [], "stop_reason": None, "stop_sequence": None}
        message = {**self._envelope, **nothing, "usage": _NO_USAGE}
        yield _to_event({"type": "message_start", "message": message})

    def format_chunk(self, chunk: AIMessageChunk, index: int) -> Iterable[ServerEvent]:
        """Return the events for a chunk; the last chunk closes the blocks and adds the summary."""
        yield from map(_to_event, self._blocks.add_text(chunk.text))
        for piece in self._numbering.read_pieces(chunk):
            yield from map(_to_event, self._blocks.add_call(piece))
        self._note_ending(chunk)
        if read_run_summary(chunk):
            yield from map(_to_event, self._last_events(chunk))

    def end(self) -> Iterable[ServerEvent]:
        """Return the event after the last chunk."""
        yield _to_event({"type": "message_stop"})

    def format_error(self, error: ApiError) -> Iterable[ServerEvent]:
        """Return the last event of a stream that failed."""
        yield ServerEvent(to_json(anthropic_error_body(error, self._request_id)).decode(), "error")

    def _last_events(self, summary: AIMessageChunk) -> Iterator[JsonObject]:
        yield from self._blocks.finish()
        yield {
            "type": "message_delta",
            "delta": self._ending(calls=self._blocks.has_calls),
            "usage": self._usage(summary),
            "moa": self._extension(summary),
        }

    def _note_ending(self, answer: AIMessage) -> None:
        """Record the finish reason of an answer or chunk."""
        self._reason = read_finish_reason(answer) or self._reason
        stop_sequence = answer.response_metadata.get("stop_sequence")
        if isinstance(stop_sequence, str):
            self._stop_sequence = stop_sequence

    def _ending(self, *, calls: bool) -> JsonObject:
        reason = to_stop_reason(self._reason, calls=calls)
        sequence = self._stop_sequence if reason == "stop_sequence" else None
        return {"stop_reason": reason, "stop_sequence": sequence}

    def _usage(self, answer: AIMessage) -> JsonObject:
        return anthropic_usage(answer, of=self._usage_of) or _NO_USAGE

    def _extension(self, answer: AIMessage) -> JsonObject:
        """Return the run summary, and the tokens that are not in `usage`."""
        if self._usage_of == "aggregator":
            return moa_extension(answer) | {"usage": anthropic_usage(answer, of="run")}
        return moa_extension(answer) | {
            "aggregator_usage": anthropic_usage(answer, of="aggregator")
        }


def to_stop_reason(reason: str | None, *, calls: bool) -> StopReason:
    """Convert a provider's finish reason to Anthropic's stop reason."""
    if stopped := _STOP_REASONS.get(read_ending(reason)):
        return stopped
    if calls:
        return "tool_use"
    return "stop_sequence" if reason == "stop_sequence" else "end_turn"


def anthropic_usage(answer: AIMessage, *, of: UsageOf) -> JsonObject | None:
    """Return the tokens of a run, or of its aggregator only; `None` if they are unknown.

    As at Anthropic, `input_tokens` excludes tokens read from or written to a cache.
    """
    key = "usage" if of == "run" else "aggregator_usage"
    usage = (answer.response_metadata.get("moa") or {}).get(key)
    if not usage:
        return None
    details = usage.get("input_token_details") or {}
    read, written = details.get("cache_read") or 0, details.get("cache_creation") or 0
    return {
        "input_tokens": max(0, usage["input_tokens"] - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage["output_tokens"],
    }


def _to_event(fields: JsonObject) -> ServerEvent:
    event = _EVENT.validate_python(fields)
    return ServerEvent(event.model_dump_json(exclude_unset=True), event.type)
