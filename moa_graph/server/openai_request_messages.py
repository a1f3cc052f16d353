"""Messages of a chat request, validated field by field."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from moa_graph.server.errors import ApiError
from moa_graph.server.json_body import MAX_VALUE_CHARS
from moa_graph.server.request_checks import RequestPart


class TextPart(RequestPart):
    """A text part of a message."""

    type: Literal["text"]
    text: str


class RefusalPart(RequestPart):
    """A refusal in an earlier answer."""

    type: Literal["refusal"]
    refusal: str


class ThoughtPart(RequestPart):
    """Reasoning before an earlier answer; models do not read it."""

    type: Literal["reasoning", "thinking", "redacted_thinking"]


class ImageUrl(RequestPart):
    """URL of an image; it may be a `data:` URL."""

    url: str
    detail: str | None = None


class ImagePart(RequestPart):
    """An image part of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


ContentParts = Annotated[
    list[Annotated[TextPart | ImagePart | RefusalPart | ThoughtPart, Discriminator("type")]],
    Field(min_length=1, fail_fast=True),
]
MessageContent = Annotated[
    Annotated[str, Tag("text")] | Annotated[ContentParts, Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "text"),
]


class CalledFunction(RequestPart):
    """Name and arguments of a call; a model may have written invalid JSON."""

    name: str = Field(min_length=1)
    arguments: str


class RequestToolCall(RequestPart):
    """A call in an earlier answer."""

    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: CalledFunction


class RequestMessage(RequestPart):
    """A message of the conversation; further fields of this server's answers are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: MessageContent | None = Field(default=None, validate_default=True)
    name: str | None = None
    tool_calls: list[RequestToolCall] | None = None
    tool_call_id: str | None = Field(default=None, validate_default=True)
    is_error: bool | None = None
    """Whether the tool call failed, for a tool result; a field of Anthropic's API."""
    function_call: Any = None

    @property
    def text(self) -> str:
        """Text of the message, without images."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""

    @field_validator("content", mode="wrap")
    @classmethod
    def _check_content(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Allow `null` only for answers with calls, and for results."""
        if value is None and info.data.get("role") in {"system", "developer", "user"}:
            raise ValueError("expected a string or a list of parts, got null")
        return handler(value)

    @field_validator("tool_call_id")
    @classmethod
    def _check_tool_call_id(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("role") == "tool" and not value:
            raise ValueError("expected the `id` of the call of this result")
        return value

    @field_validator("function_call")
    @classmethod
    def _refuse_function_call(cls, value: Any) -> None:
        if value:
            raise ValueError("not supported; expected `tool_calls`")


def require_open_conversation(messages: list[RequestMessage], name: str = "messages") -> None:
    """Check that the conversation has something to answer or continue; empty answers are removed.

    Args:
        messages: The conversation.
        name: Its name in the client's dialect.

    Raises:
        ApiError: If it does not.
    """
    if not messages:
        message = f"{name}: they have no content"
        raise ApiError(400, message, param=name, code="nothing_to_answer")
    last = messages[-1]
    if last.role == "assistant" and not last.tool_calls and not last.text and len(messages) > 1:
        messages.pop()
        last = messages[-1]
    if last.role == "assistant" and (last.tool_calls or not last.text):
        end = "calls tools; expected their results after it" if last.tool_calls else "is empty"
        message = f"{name}: the last is the assistant's, and {end}"
        raise ApiError(400, message, param=name, code="nothing_to_answer")


def check_results(messages: Sequence[RequestMessage]) -> None:
    """Reject a tool result without its call in the conversation, as most providers do.

    Raises:
        ApiError: If there is one.
    """
    call_ids = set[str]()
    for index, message in enumerate(messages):
        call_ids.update(call.id for call in message.tool_calls or ())
        if message.role == "tool" and message.tool_call_id not in call_ids:
            location = f"messages[{index}].tool_call_id"
            printable_id = str(message.tool_call_id)[:MAX_VALUE_CHARS]
            message_text = f"{location}: no call {printable_id!r} in the messages before it"
            raise ApiError(400, message_text, param=location, code="unknown_tool_call")
