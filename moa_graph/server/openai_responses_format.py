"""Responses in OpenAI's format: complete, or as events."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk
from openai.types import responses as openai_responses
from openai.types.responses import Response, ResponseError
from pydantic import BaseModel

from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.server.errors import ApiError
from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_answers import (
    CallNumbering,
    FinishReason,
    UsageOf,
    moa_extension,
    openai_finish_reason,
    openai_usage,
    to_openai_reason,
)
from moa_graph.server.openai_responses_output import (
    Event,
    OutputItems,
    read_logprobs,
    to_output_items,
)
from moa_graph.server.openai_responses_requests import (
    ResponsesRequest,
    TextOptions,
)
from moa_graph.server.openai_responses_tools import echo_tools
from moa_graph.server.responses import ServerEvent
from moa_graph.server.service import ApiOptions

_EVENTS: dict[str, Any] = {
    "error": openai_responses.ResponseErrorEvent,
    "response.created": openai_responses.ResponseCreatedEvent,
    "response.in_progress": openai_responses.ResponseInProgressEvent,
    "response.completed": openai_responses.ResponseCompletedEvent,
    "response.incomplete": openai_responses.ResponseIncompleteEvent,
    "response.failed": openai_responses.ResponseFailedEvent,
    "response.output_item.added": openai_responses.ResponseOutputItemAddedEvent,
    "response.output_item.done": openai_responses.ResponseOutputItemDoneEvent,
    "response.content_part.added": openai_responses.ResponseContentPartAddedEvent,
    "response.content_part.done": openai_responses.ResponseContentPartDoneEvent,
    "response.output_text.delta": openai_responses.ResponseTextDeltaEvent,
    "response.output_text.done": openai_responses.ResponseTextDoneEvent,
    "response.custom_tool_call_input.delta": openai_responses.ResponseCustomToolCallInputDeltaEvent,
    "response.custom_tool_call_input.done": openai_responses.ResponseCustomToolCallInputDoneEvent,
    "response.function_call_arguments.delta": (
        openai_responses.ResponseFunctionCallArgumentsDeltaEvent
    ),
    "response.function_call_arguments.done": (
        openai_responses.ResponseFunctionCallArgumentsDoneEvent
    ),
}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons of incomplete responses, by OpenAI's finish reason."""
_STATUSES = ("completed", "incomplete")

Keep = Callable[[Iterable[JsonObject]], None]


class ResponseEnvelope:
    """Fields of a response in any state."""

    def __init__(self, request: ResponsesRequest, usage: UsageOf = ApiOptions.usage) -> None:
        self._usage = usage
        self._head: JsonObject = {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": request.model,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {
                "effort": request.reasoning and request.reasoning.effort,
                "summary": None,
            },
            "store": False,
            "temperature": request.temperature,
            "text": _echo_text(request.text or TextOptions()),
            "tool_choice": _echo_tool_choice(request.tool_choice),
            "tools": echo_tools(request.callable_tools),
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": None,
        }

    def wrap_progress(self) -> Response:
        """Return a response in progress."""
        return self._wrap("in_progress")

    def wrap_answer(self, answer: AIMessage, items: OutputItems, reason: FinishReason) -> Response:
        """Return a completed response.

        Args:
            answer: The answer, with the run summary.
            items: Its output items.
            reason: Its finish reason.
        """
        cause = _INCOMPLETE.get(reason)
        status = _STATUSES[cause is not None]
        return self._wrap(
            status,
            completed_at=None if cause else int(time.time()),
            incomplete_details={"reason": cause} if cause else None,
            output=items.to_output(status),
            usage=_responses_usage(answer, self._usage),
            moa=moa_extension(answer, usage=self._usage),
        )

    def wrap_error(self, error: ApiError) -> Response:
        """Return a failed response."""
        # OpenAI also sends codes that its class does not list.
        response_error = ResponseError.model_construct(code=error.code, message=error.message)
        return self._wrap("failed", error=response_error)

    def _wrap(self, status: str, **parts: Any) -> Response:
        return Response.model_validate({**self._head, "status": status, "output": [], **parts})


class ResponsesFormat:
    """Formats responses."""

    def __init__(
        self,
        request: ResponsesRequest,
        usage: UsageOf = ApiOptions.usage,
        keep: Keep | None = None,
    ) -> None:
        """Create the format for a request.

        Args:
            request: The request.
            usage: Which tokens `usage` contains.
            keep: Stores the items of an answer.
        """
        self._envelope, self._keep = ResponseEnvelope(request, usage), keep
        self._tools = request.callable_tools
        self._calls, self._items = CallNumbering(), OutputItems(self._tools)
        self._reason: str | None = None
        self._summary = AIMessageChunk(content="")
        self._event_count = 0

    def format_answers(self, answers: Sequence[AIMessage]) -> str:
        """Return a response."""
        (answer,) = answers
        items = to_output_items(answer, self._tools)
        return _to_json(self._complete(answer, items, openai_finish_reason(answer)))

    def start(self) -> Iterable[ServerEvent]:
        """Return the events of a started response."""
        for kind in ("response.created", "response.in_progress"):
            yield self._to_event(kind, {"response": self._envelope.wrap_progress()})

    def format_chunk(self, chunk: AIMessageChunk, index: int) -> Iterable[ServerEvent]:
        """Return the events for a chunk."""
        return (self._to_event(kind, fields) for kind, fields in self._read_chunk(chunk))

    def end(self) -> Iterable[ServerEvent]:
        """Close open items, and return the final response."""
        reason = to_openai_reason(self._reason, calls=self._calls.has_calls)
        for kind, fields in self._items.end(_STATUSES[reason in _INCOMPLETE]):
            yield self._to_event(kind, fields)
        response = self._complete(self._summary, self._items, reason)
        yield self._to_event(f"response.{response.status}", {"response": response})

    def format_error(self, error: ApiError) -> Iterable[ServerEvent]:
        """Return an error."""
        fields = {"code": error.code, "message": error.message, "param": error.param}
        yield self._to_event("error", fields)
        yield self._to_event("response.failed", {"response": self._envelope.wrap_error(error)})

    def _complete(self, answer: AIMessage, items: OutputItems, reason: FinishReason) -> Response:
        if self._keep:
            self._keep(items.to_output("completed"))
        return self._envelope.wrap_answer(answer, items, reason)

    def _read_chunk(self, chunk: AIMessageChunk) -> Iterator[Event]:
        logprobs = read_logprobs(chunk)
        if chunk.text or logprobs:
            yield from self._items.add_text(chunk.text, logprobs)
        for piece in self._calls.read_pieces(chunk):
            yield from self._items.add_call_piece(piece)
        self._reason = read_finish_reason(chunk) or self._reason
        if read_run_summary(chunk):
            self._summary = chunk

    def _to_event(self, kind: str, fields: JsonObject) -> ServerEvent:
        number, self._event_count = self._event_count, self._event_count + 1
        event = _EVENTS[kind].model_validate({"type": kind, "sequence_number": number, **fields})
        return ServerEvent(_to_json(event), kind)


def _to_json(model: BaseModel) -> str:
    return model.model_dump_json(by_alias=True, exclude_unset=True, warnings=False)


def _echo_text(text: TextOptions) -> JsonObject:
    options = text.model_dump(by_alias=True, exclude_none=True)
    return {"format": {"type": "text"}} | options


def _echo_tool_choice(choice: Any) -> Any:
    if isinstance(choice, BaseModel):
        return choice.model_dump()
    return choice or "auto"


def _responses_usage(answer: AIMessage, of: UsageOf) -> JsonObject | None:
    """Return the tokens of a run or its aggregator, in the format of Responses."""
    usage = openai_usage(answer, of=of)
    if usage is None:
        return None
    read, written = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = (read and read.cached_tokens) or 0
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": (written and written.reasoning_tokens) or 0},
        "total_tokens": usage.total_tokens,
    }
