"""The request body of `POST /v1/chat/completions`, validated field by field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from moa_graph.models.providers import ReasoningEffort
from moa_graph.server.json_body import MAX_VALUE_CHARS
from moa_graph.server.openai_request_messages import (
    RequestMessage,
    check_results,
    require_open_conversation,
)
from moa_graph.server.request_checks import (
    RequestPart,
    check_length,
    check_object,
    ineffective_parameters,
    refuse_parameters,
    validate_request,
)
from moa_graph.server.service import WriterSettings

UNSUPPORTED_PARAMETERS: Mapping[str, Sequence[Any]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "web_search_options": (),
}
"""Unsupported parameters that would change the answer, with the values that do not."""

MAX_TOOLS = 128  # as at OpenAI
MAX_ANSWERS = 16
"""Maximum number of answers to one request; each is a call of the aggregator."""
MAX_STOPS = 64
"""Maximum number of stop strings."""


class StreamOptions(RequestPart):
    """Options of a stream."""

    include_usage: bool | None = None


class FunctionDefinition(RequestPart):
    """A function that can be called."""

    name: str = Field(min_length=1, max_length=200)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(RequestPart):
    """A tool."""

    type: Literal["function"]
    function: FunctionDefinition


class FunctionName(RequestPart):
    """The name of a function."""

    name: str


class NamedToolChoice(RequestPart):
    """A tool that must be called."""

    type: Literal["function"]
    function: FunctionName


class AllowedFunctions(RequestPart):
    """A subset of the tools."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedToolChoice], Field(min_length=1, max_length=MAX_TOOLS)]


class AllowedToolChoice(RequestPart):
    """A subset of the tools that may or must be called."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedFunctions


class TextFormat(RequestPart):
    """Text, the default."""

    type: Literal["text"]


class JsonObjectFormat(RequestPart):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(RequestPart):
    """A schema and its name."""

    name: str = Field(min_length=1)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(RequestPart):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


def as_list(value: Any) -> Any:
    """Return a single text as a list."""
    return [value] if isinstance(value, str) else value


def tag_tool_choice(value: Any) -> str:
    """Return the kind of a `tool_choice`: a mode, a named tool, or allowed tools."""
    if not isinstance(value, dict):
        return "mode"
    return "allowed" if value.get("type") == "allowed_tools" else "named"


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("mode")]
    | Annotated[NamedToolChoice, Tag("named")]
    | Annotated[AllowedToolChoice, Tag("allowed")],
    Discriminator(tag_tool_choice),
]
ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Discriminator("type")]
Stop = Annotated[
    list[Annotated[str, Field(min_length=1)]] | None,
    Field(max_length=MAX_STOPS),
    BeforeValidator(as_list),
]
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
    n: int | None = Field(default=None, ge=1, le=MAX_ANSWERS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Stop = None
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
            raise ValueError("requires `logprobs`=true")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _check_tool_choice(cls, value: Any, info: ValidationInfo) -> Any:
        names = [tool.function.name for tool in info.data.get("tools") or ()]
        if value == "required" and not names:
            raise ValueError("requires `tools`, which is missing")
        for name in _find_called_names(value):
            if name not in names:
                raise ValueError(
                    f"no tool {name[:MAX_VALUE_CHARS]!r} in `tools`; expected one of: "
                    f"{', '.join(names)[: 10 * MAX_VALUE_CHARS]}"
                )
        return value

    @model_validator(mode="after")
    def _leave_allowed_tools(self) -> Self:
        """Keep only the allowed tools: models need not know the others."""
        if isinstance(self.tool_choice, AllowedToolChoice):
            allowed = _find_called_names(self.tool_choice)
            self.tools = [each for each in self.tools or () if each.function.name in allowed]
            self.tool_choice = self.tool_choice.allowed_tools.mode
        return self

    @property
    def writer_settings(self) -> WriterSettings:
        """Settings of the request for the final answer."""
        return WriterSettings(
            reasoning_effort=self.reasoning_effort,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=tuple(self.stop) if self.stop else None,
        )

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk with the tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def beginning(self) -> str:
        """The beginning of the answer, if the last message is the assistant's."""
        last = self.messages[-1]
        return last.text if last.role == "assistant" else ""

    @property
    def wants_tools(self) -> bool:
        """Whether there are tools to call."""
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def must_call_tool(self) -> bool:
        """Whether the answer must be a call."""
        return self.wants_tools and self.tool_choice not in (None, "auto")  # unhashable

    @property
    def wants_json(self) -> bool:
        """Whether the answer must be JSON."""
        return isinstance(self.response_format, (JsonObjectFormat, JsonSchemaFormat))

    def ineffective_parameters(self) -> Iterator[str]:
        """Names of parameters that are unknown or have no effect."""
        named = ineffective_parameters(self.model_extra)
        return (name for name in named if name not in UNSUPPORTED_PARAMETERS)


def _find_called_names(choice: Any) -> Sequence[str]:
    """Return the names of the tools in a `tool_choice`."""
    match choice:
        case NamedToolChoice():
            return [choice.function.name]
        case AllowedToolChoice():
            return [each.function.name for each in choice.allowed_tools.tools]
    return []


def parse_chat_request(data: Any, max_messages: int, *, strict: bool = False) -> ChatRequest:
    """Validate a request.

    Args:
        data: The body.
        max_messages: Maximum number of messages.
        strict: Whether to reject unknown parameters.

    Raises:
        ApiError: If a field is missing, has the wrong type, or is not supported; `param` names it.
    """
    check_object(data)
    refuse_parameters(data, ChatRequest, UNSUPPORTED_PARAMETERS, strict=strict)
    check_length(data, "messages", max_messages)
    chat_request = validate_request(ChatRequest, data)
    require_open_conversation(chat_request.messages)
    check_results(chat_request.messages)
    return chat_request
