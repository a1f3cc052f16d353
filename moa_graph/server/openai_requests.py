"""What a client may ask: the body of `POST /v1/chat/completions`, checked field by field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from moa_graph.models.providers import ReasoningEffort
from moa_graph.server.errors import ApiError
from moa_graph.server.json_body import (
    MAX_VALUE_CHARS,
    explain_validation_error,
    format_value,
)
from moa_graph.server.service import WriterSettings

UNSUPPORTED_PARAMETERS: Mapping[str, Sequence[Any]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "web_search_options": (),
}
"""Parameters that would change the answer, and the values with which they do not."""

IGNORED_PARAMETERS: Mapping[str, Sequence[Any]] = {
    "metadata": ({},),
    "prediction": (),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "safety_identifier": (),
    "seed": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "user": (),
}
"""Parameters that have no effect here, and need none: the answer means the same. The values are
those that a client need not be told of."""

MAX_TOOLS = 128  # as OpenAI


class _RequestModel(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class TextPart(_RequestModel):
    """A part of a message that is text."""

    type: Literal["text"]
    text: str


class RefusalPart(_RequestModel):
    """A part of an earlier answer in which a model refused."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(_RequestModel):
    """Where an image is, or the image itself as a `data:` URL."""

    url: str
    detail: str | None = None


class ImagePart(_RequestModel):
    """A part of a message that is an image."""

    type: Literal["image_url"]
    image_url: ImageUrl


ContentParts = Annotated[
    list[Annotated[TextPart | ImagePart | RefusalPart, Discriminator("type")]],
    Field(min_length=1, fail_fast=True),
]
MessageContent = Annotated[
    Annotated[str, Tag("text")] | Annotated[ContentParts, Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "text"),
]


class CalledFunction(_RequestModel):
    """What was called, with which arguments: JSON, or what a model wrote in its place."""

    name: str = Field(min_length=1)
    arguments: str


class RequestToolCall(_RequestModel):
    """A call in an earlier answer."""

    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: CalledFunction


class RequestMessage(_RequestModel):
    """A message of the conversation. What answers of this server say beside it is ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: MessageContent | None = Field(default=None, validate_default=True)
    name: str | None = None
    tool_calls: list[RequestToolCall] | None = None
    tool_call_id: str | None = Field(default=None, validate_default=True)
    function_call: Any = None

    @field_validator("content", mode="wrap")
    @classmethod
    def _check_content(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Take no content where a message may have none: an answer that calls, and a result."""
        if value is None and info.data.get("role") in {"system", "developer", "user"}:
            raise ValueError("expected a string or a list of parts, got null")
        return handler(value)

    @field_validator("tool_call_id")
    @classmethod
    def _check_tool_call_id(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("role") == "tool" and not value:
            raise ValueError("expected the `id` of the call that the message is the result of")
        return value

    @field_validator("function_call")
    @classmethod
    def _refuse_function_call(cls, value: Any) -> None:
        if value:
            raise ValueError("not supported; expected `tool_calls`")


class StreamOptions(_RequestModel):
    """What a stream says beside the answer."""

    include_usage: bool | None = None


class FunctionDefinition(_RequestModel):
    """A function that can be called."""

    name: str = Field(min_length=1, max_length=200)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(_RequestModel):
    """A tool."""

    type: Literal["function"]
    function: FunctionDefinition


class FunctionName(_RequestModel):
    """The name of a function."""

    name: str


class NamedToolChoice(_RequestModel):
    """A tool that is to be called."""

    type: Literal["function"]
    function: FunctionName


class TextFormat(_RequestModel):
    """Text, as always."""

    type: Literal["text"]


class JsonObjectFormat(_RequestModel):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(_RequestModel):
    """A schema, and its name."""

    name: str = Field(min_length=1)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(_RequestModel):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("mode")]
    | Annotated[NamedToolChoice, Tag("named")],
    Discriminator(lambda value: "named" if isinstance(value, dict) else "mode"),
]
ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Discriminator("type")]
Penalty = Annotated[float | None, Field(ge=-2, le=2)]


class ChatRequest(BaseModel):
    """A request for an answer."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, hide_input_in_errors=True
    )

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
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    frequency_penalty: Penalty = None
    presence_penalty: Penalty = None
    top_k: int | None = Field(default=None, ge=-1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: Annotated[list[FunctionTool] | None, Field(max_length=MAX_TOOLS)] = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None

    @field_validator("top_logprobs")
    @classmethod
    def _check_top_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and not info.data.get("logprobs"):
            raise ValueError("needs `logprobs`, which is not true")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _check_tool_choice(cls, value: Any, info: ValidationInfo) -> Any:
        names = [tool.function.name for tool in info.data.get("tools") or ()]
        if value == "required" and not names:
            raise ValueError("needs `tools`, of which there are none")
        if isinstance(value, NamedToolChoice) and value.function.name not in names:
            raise ValueError(
                f"no tool {value.function.name[:MAX_VALUE_CHARS]!r} in `tools`; expected one of: "
                f"{', '.join(names)[: 10 * MAX_VALUE_CHARS]}"
            )
        return value

    @property
    def writer_settings(self) -> WriterSettings:
        """How the final answer is to be written."""
        return WriterSettings(
            reasoning_effort=self.reasoning_effort,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=tuple(self.stop) if self.stop else None,
        )

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that tells the tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def wants_tools(self) -> bool:
        """Whether there are tools that may be called."""
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def must_call_tool(self) -> bool:
        """Whether the answer has to be a call."""
        return self.wants_tools and self.tool_choice not in (None, "auto")  # no hash

    @property
    def wants_json(self) -> bool:
        """Whether the answer has to be JSON."""
        return isinstance(self.response_format, (JsonObjectFormat, JsonSchemaFormat))

    def ineffective_parameters(self) -> Iterator[str]:
        """Name the parameters that are not known here, or have no effect."""
        for name, value in (self.model_extra or {}).items():
            is_said = value is not None and value not in IGNORED_PARAMETERS.get(name, ())
            if is_said and name not in UNSUPPORTED_PARAMETERS:
                yield name


def parse_chat_request(data: Any, max_messages: int, *, strict: bool = False) -> ChatRequest:
    """Check a request.

    Args:
        data: Its body.
        max_messages: The most messages that it may have.
        strict: Whether parameters that are not known here are refused.

    Raises:
        ApiError: If a field is missing, of another type, or not supported; `param` names it.
    """
    if not isinstance(data, dict):
        raise ApiError(400, f"the body: expected an object, got {type(data).__name__}")
    _refuse_parameters(data, strict=strict)
    messages = data.get("messages")
    if isinstance(messages, list) and len(messages) > max_messages:
        message = f"messages: {len(messages):,} are more than the {max_messages:,} that are taken"
        raise ApiError(400, message, param="messages", code="too_many_messages")
    try:
        chat_request = ChatRequest.model_validate(data)
    except ValidationError as error:
        raise explain_validation_error(error, data) from None
    if chat_request.messages[-1].role == "assistant":
        message = "messages: the last is the assistant's; expected one to answer"
        raise ApiError(400, message, param="messages", code="nothing_to_answer")
    _check_results(chat_request.messages)
    return chat_request


def _refuse_parameters(data: Mapping[str, Any], *, strict: bool) -> None:
    """Refuse what would change the answer and is not supported; with `strict`, the unknown too."""
    for name, value in data.items():
        if name in UNSUPPORTED_PARAMETERS:
            harmless = UNSUPPORTED_PARAMETERS[name]
            if value is not None and value not in harmless:
                only = f"; it may be {' or '.join(map(format_value, harmless))}" if harmless else ""
                message = f"{name}: not supported by this server{only}; got {format_value(value)}"
                raise ApiError(400, message, param=name, code="unsupported_parameter")
        elif strict and name not in ChatRequest.model_fields and name not in IGNORED_PARAMETERS:
            name = name[:MAX_VALUE_CHARS]  # noqa: PLW2901
            message = f"{name!r} is no parameter that this server knows"
            raise ApiError(400, message, param=name, code="unknown_parameter")


def _check_results(messages: Sequence[RequestMessage]) -> None:
    """Refuse the result of a call that is not in the conversation: most providers do."""
    known = set[str]()
    for index, message in enumerate(messages):
        known.update(call.id for call in message.tool_calls or ())
        if message.role == "tool" and message.tool_call_id not in known:
            location = f"messages[{index}].tool_call_id"
            shown = str(message.tool_call_id)[:MAX_VALUE_CHARS]
            message_text = f"{location}: no call {shown!r} in the messages before it"
            raise ApiError(400, message_text, param=location, code="unknown_tool_call")
