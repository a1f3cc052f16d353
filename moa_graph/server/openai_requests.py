"""What a client may ask: the body of `POST /v1/chat/completions`, checked field by field."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
)
from pydantic_core import from_json, to_json
from starlette.requests import Request

from moa_graph.server.errors import ApiError
from moa_graph.server.json_size import count_json_items
from moa_graph.server.service import SamplingOptions, ServerLimits

UNSUPPORTED_FIELDS: dict[str, Sequence[Any]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
"""Fields that would change the answer, and the values with which they do not."""

IGNORED_FIELDS = frozenset(
    (
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "user",
    )
)
"""Fields that have no effect here, and need none: the answer means the same."""

_MAX_VALUE_CHARS = 100  # characters of a value that are repeated
_LIST_DESCRIPTIONS = {"messages": "a list of messages", "stop": "a string or a list of strings"}


class _RequestModel(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class TextPart(_RequestModel):
    """A part of a message that is text."""

    type: Literal["text"]
    text: str


class ImageUrl(_RequestModel):
    """Where an image is, or the image itself as a `data:` URL."""

    url: str
    detail: str | None = None


class ImagePart(_RequestModel):
    """A part of a message that is an image."""

    type: Literal["image_url"]
    image_url: ImageUrl


ContentParts = Annotated[
    list[Annotated[TextPart | ImagePart, Discriminator("type")]],
    Field(min_length=1, fail_fast=True),
]
MessageContent = Annotated[
    Annotated[str, Tag("text")] | Annotated[ContentParts, Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "text"),
]


class RequestMessage(_RequestModel):
    """A message of the conversation. What answers of this server say beside it is ignored."""

    role: Literal["system", "developer", "user", "assistant"]
    content: MessageContent
    name: str | None = None
    tool_calls: Any = None
    function_call: Any = None

    @field_validator("tool_calls", "function_call")
    @classmethod
    def _refuse_tools(cls, value: Any) -> None:
        if value:
            raise ValueError("calls of tools are not supported")


class StreamOptions(_RequestModel):
    """What a stream says beside the answer."""

    include_usage: bool | None = None


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ChatRequest(BaseModel):
    """A request for an answer."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    model: str = Field(min_length=1, max_length=200)
    messages: Annotated[list[RequestMessage], Field(min_length=1, fail_fast=True)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Annotated[
        list[Annotated[str, Field(min_length=1)]] | None,
        Field(max_length=4),
        BeforeValidator(_as_list),
    ] = None

    @property
    def sampling(self) -> SamplingOptions:
        """How the final answer is to be written."""
        return SamplingOptions(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=tuple(self.stop) if self.stop else None,
        )

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that tells the tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


async def read_json_body(request: Request, limits: ServerLimits) -> Any:
    """Read the body of a request.

    Args:
        request: The request.
        limits: How many bytes and items it may have, and in how many seconds they must come.

    Raises:
        ApiError: If it is larger or slower, or no JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        message = f"expected 'Content-Type: application/json', got {kind!r}"
        raise ApiError(415, message, code="unsupported_content_type")
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read_body(request, limits.body)
    except TimeoutError:
        message = f"the body did not come within {limits.body_seconds:g} s"
        close = {"connection": "close"}
        raise ApiError(408, message, code="request_timeout", headers=close) from None
    _check_item_count(body, limits.body_items)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_json") from None


async def _read_body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    declared = request.headers.get("content-length", "0")
    async for part in request.stream():
        body += part
        if max(len(body), int(declared)) > max_bytes:
            raise ApiError(
                413, f"the body has more than {max_bytes:,} bytes", code="body_too_large"
            )
    return bytes(body)


def _check_item_count(body: bytes, limit: int) -> None:
    """Refuse a body whose objects would take a hundred times its room, and long to check."""
    if (count := count_json_items(body, limit)) > limit:
        message = (
            f"the body has about {count:,} items in its lists and objects; "
            f"expected at most {limit:,}"
        )
        raise ApiError(413, message, code="too_many_items")


def parse_chat_request(data: Any, max_messages: int) -> ChatRequest:
    """Check a request.

    Args:
        data: Its body.
        max_messages: The most messages that it may have.

    Raises:
        ApiError: If a field is missing, of another type, or not supported; `param` names it.
    """
    if not isinstance(data, dict):
        raise ApiError(400, f"the body: expected an object, got {type(data).__name__}")
    _refuse_unsupported(data)
    messages = data.get("messages")
    if isinstance(messages, list) and len(messages) > max_messages:
        message = f"messages: {len(messages):,} are more than the {max_messages:,} that are taken"
        raise ApiError(400, message, param="messages", code="too_many_messages")
    try:
        chat_request = ChatRequest.model_validate(data)
    except ValidationError as error:
        raise _explain_error(error, data) from None
    if chat_request.messages[-1].role == "assistant":
        message = "messages: the last is the assistant's; expected one to answer"
        raise ApiError(400, message, param="messages", code="nothing_to_answer")
    return chat_request


def _refuse_unsupported(data: dict[str, Any]) -> None:
    for name, value in data.items():
        if name in UNSUPPORTED_FIELDS:
            harmless = UNSUPPORTED_FIELDS[name]
            if value is not None and value not in harmless:
                only = (
                    f"; it may be {' or '.join(map(_format_value, harmless))}" if harmless else ""
                )
                message = f"{name}: not supported by this server{only}; got {_format_value(value)}"
                raise ApiError(400, message, param=name, code="unsupported_parameter")
        elif name not in ChatRequest.model_fields and name not in IGNORED_FIELDS:
            message = f"{name[:_MAX_VALUE_CHARS]!r} is no parameter that this server knows"
            raise ApiError(400, message, param=name[:_MAX_VALUE_CHARS], code="unknown_parameter")


def _explain_error(error: ValidationError, data: Any) -> ApiError:
    """Say where the first mistake is, what it is, and what would be accepted."""
    first = error.errors(include_url=False)[0]
    location = _format_location(first["loc"], data)
    got = f", got {_format_value(first['input'])}"
    match first["type"]:
        case "missing" | "union_tag_not_found":
            message = "required, but missing"
        case "too_short":
            message = "empty; expected at least one"
        case "model_type" | "model_attributes_type":
            message = f"expected an object{got}"
        case "list_type":
            message = f"expected {_LIST_DESCRIPTIONS.get(location, 'a list')}{got}"
        case "union_tag_invalid":
            context = first["ctx"]
            message = (
                f"expected {context['expected_tags']}, got {context['tag'][:_MAX_VALUE_CHARS]!r}"
            )
        case "value_error":
            message = first["msg"].removeprefix("Value error, ")
        case _:
            message = first["msg"].replace("Input should be", "expected") + got
    if location.endswith(".content") and first["type"] == "string_type":
        message = f"expected a string or a list of parts{got}"
    return ApiError(400, f"{location}: {message}", param=location)


def _format_location(loc: Sequence[int | str], data: Any) -> str:
    """Write where in the body a mistake is.

    Pydantic names branches of unions besides, and places in a list that was a single value.
    """
    location = ""
    for index, part in enumerate(loc):
        if isinstance(part, int) and isinstance(data, list):
            location, data = f"{location}[{part}]", data[part]
        elif isinstance(data, dict) and (part in data or index == len(loc) - 1):
            location, data = f"{location}.{part}", data.get(part)
    return location.removeprefix(".")


def _format_value(value: Any) -> str:
    """Write what was received, unless it is long."""
    text = to_json(value).decode()
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}…"
