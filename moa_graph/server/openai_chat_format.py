"""Chat completions in OpenAI's format: complete, or in chunks."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic_core import to_json

from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.server.errors import ApiError, openai_error_body
from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_answers import (
    CallNumbering,
    CallPiece,
    FinishReason,
    UsageOf,
    moa_extension,
    openai_finish_reason,
    openai_logprobs,
    openai_tool_calls,
    openai_usage,
    to_openai_reason,
)
from moa_graph.server.openai_requests import ChatRequest
from moa_graph.server.responses import ServerEvent
from moa_graph.server.service import ApiOptions

_DONE = ServerEvent("[DONE]")


@dataclass(frozen=True)
class CompletionEnvelope:
    """Fields that all parts of one answer share."""

    model: str
    usage: UsageOf = ApiOptions.usage
    """Which tokens `usage` contains; the others are in `moa`."""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def wrap_completion(self, answers: Sequence[AIMessage]) -> ChatCompletion:
        """Return complete answers."""
        choices = [_to_choice(answer, index) for index, answer in enumerate(answers)]
        return ChatCompletion.model_validate(
            self._wrap_choices("chat.completion", choices)
            | {"usage": openai_usage(*answers, of=self.usage)}
            | {"moa": moa_extension(*answers, usage=self.usage)}
        )

    def wrap_chunk(
        self, delta: JsonObject, index: int, logprobs: JsonObject | None = None
    ) -> ChatCompletionChunk:
        """Return a chunk of an answer."""
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        return ChatCompletionChunk.model_validate(
            self._wrap_choices("chat.completion.chunk", [choice])
        )

    def wrap_end(self, summary: AIMessage, index: int, reason: FinishReason) -> ChatCompletionChunk:
        """Return the last chunk of an answer, with finish reason and summary."""
        choice = {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}
        return ChatCompletionChunk.model_validate(
            self._wrap_choices("chat.completion.chunk", [choice])
            | {"moa": moa_extension(summary, usage=self.usage)}
        )

    def wrap_usage(self, summaries: Sequence[AIMessage]) -> ChatCompletionChunk:
        """Return the chunk with the tokens of a streamed run."""
        return ChatCompletionChunk.model_validate(
            self._wrap_choices("chat.completion.chunk", [])
            | {"usage": openai_usage(*summaries, of=self.usage)}
        )

    def _wrap_choices(self, kind: str, choices: list[JsonObject]) -> JsonObject:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


class ChatCompletionFormat:
    """Formats chat completions."""

    def __init__(self, chat_request: ChatRequest, usage: UsageOf = ApiOptions.usage) -> None:
        self._envelope = CompletionEnvelope(chat_request.model, usage)
        self._wants_usage = chat_request.wants_usage
        self._choices = [_StreamedChoice() for _ in range(chat_request.n or 1)]

    def format_answers(self, answers: Sequence[AIMessage]) -> str:
        """Return a completion."""
        return self._envelope.wrap_completion(answers).model_dump_json(exclude_unset=True)

    def start(self) -> Iterable[ServerEvent]:
        """Return the first chunk of each answer."""
        for index in range(len(self._choices)):
            yield _to_event(self._envelope.wrap_chunk({"role": "assistant", "content": ""}, index))

    def format_chunk(self, chunk: AIMessageChunk, index: int) -> Iterable[ServerEvent]:
        """Return the chunks for a chunk; the last one ends the answer."""
        return map(_to_event, self._translate(chunk, index))

    def end(self) -> Iterable[ServerEvent]:
        """Return the end of the stream."""
        if self._wants_usage:
            summaries = [choice.summary for choice in self._choices if choice.summary]
            yield _to_event(self._envelope.wrap_usage(summaries))
        yield _DONE

    def format_error(self, error: ApiError) -> Iterable[ServerEvent]:
        """Return an error; the stream then ends without its last event."""
        yield ServerEvent(to_json(openai_error_body(error)).decode())

    def _translate(self, chunk: AIMessageChunk, index: int) -> Iterator[ChatCompletionChunk]:
        choice = self._choices[index]
        delta: JsonObject = {"content": chunk.text} if chunk.text else {}
        if calls := [_to_call(piece) for piece in choice.calls.read_pieces(chunk)]:
            delta["tool_calls"] = calls
        logprobs = openai_logprobs(chunk)
        if delta or logprobs:
            yield self._envelope.wrap_chunk(delta, index, logprobs)
        choice.reason = read_finish_reason(chunk) or choice.reason
        if read_run_summary(chunk):
            choice.summary = chunk
            reason = to_openai_reason(choice.reason, calls=choice.calls.has_calls)
            yield self._envelope.wrap_end(chunk, index, reason)


class _StreamedChoice:
    """State of a streamed answer."""

    def __init__(self) -> None:
        self.calls = CallNumbering()
        self.reason: str | None = None
        self.summary: AIMessageChunk | None = None


def _to_choice(answer: AIMessage, index: int) -> JsonObject:
    calls = openai_tool_calls(answer)
    message: JsonObject = {"role": "assistant", "content": answer.text, "refusal": None}
    if calls:
        message |= {"content": answer.text or None, "tool_calls": calls}
    return {
        "index": index,
        "message": message,
        "finish_reason": openai_finish_reason(answer),
        "logprobs": openai_logprobs(answer),
    }


def _to_call(piece: CallPiece) -> JsonObject:
    function = {"arguments": piece.arguments}
    if piece.id is None:
        return {"index": piece.number, "function": function}
    function["name"] = piece.name
    return {"index": piece.number, "id": piece.id, "type": "function", "function": function}


def _to_event(chunk: ChatCompletionChunk) -> ServerEvent:
    return ServerEvent(chunk.model_dump_json(exclude_unset=True))
