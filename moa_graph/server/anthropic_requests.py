"""The request body of `POST /v1/messages`, validated field by field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

from moa_graph.server.anthropic_content import (
    MessageParam,
    RequestModel,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    tag_content,
)
from moa_graph.server.errors import THREAD_UNSUPPORTED, ApiError
from moa_graph.server.json_body import MAX_VALUE_CHARS
from moa_graph.server.openai_requests import MAX_STOPS, MAX_TOOLS
from moa_graph.server.request_checks import check_length, check_object, validate_request

IGNORED_PARAMETERS: Mapping[str, Sequence[Any] | None] = {
    "cache_control": None,
    "inference_geo": ("global",),
    "metadata": ({},),
    "service_tier": ("auto", "standard_only"),
}
"""Parameters without effect that do not change the meaning of an answer. The values are not
reported to the client; `None` means all values."""


class CustomTool(RequestModel):
    """A tool of the client, with its schema."""

    name: str = Field(min_length=1, max_length=200)
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None


class ForeignTool(RequestModel):
    """A tool of Anthropic, such as `web_search_20250305`, which only its models support."""

    type: str = Field(min_length=1)


def _tag_tool(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return "custom" if kind in (None, "custom") else "foreign"  # unhashable


Tool = Annotated[
    Annotated[CustomTool, Tag("custom")] | Annotated[ForeignTool, Tag("foreign")],
    Discriminator(_tag_tool),
]


class ToolChoice(RequestModel):
    """Whether tools must be called, and which."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = Field(default=None, validate_default=True)
    disable_parallel_tool_use: bool | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("type") == "tool" and not value:
            raise ValueError("expected the name of the tool to call")
        return value


class JsonFormat(RequestModel):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(RequestModel):
    """Effort and format of an answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonFormat | None = None


SystemPrompt = Annotated[
    Annotated[str | None, Tag("text")]
    | Annotated[Annotated[list[TextBlock], Field(fail_fast=True)], Tag("blocks")],
    Discriminator(tag_content),
]


class ConversationRequest(BaseModel):
    """A conversation and its tools: the body of `POST /v1/messages/count_tokens`."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, hide_input_in_errors=True
    )

    model: str = Field(min_length=1, max_length=200)
    messages: Annotated[list[MessageParam], Field(min_length=1, fail_fast=True)]
    system: SystemPrompt = None
    tools: Annotated[list[Tool] | None, Field(max_length=MAX_TOOLS)] = None
    tool_choice: ToolChoice | None = None
    thinking: dict[str, Any] | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None
    """Older name of `output_config.format`."""

    @property
    def custom_tools(self) -> Sequence[CustomTool]:
        """The tools that are passed to models."""
        return [tool for tool in self.tools or () if isinstance(tool, CustomTool)]

    @property
    def foreign_tools(self) -> Sequence[str]:
        """Types of the tools that are left out."""
        return [tool.type for tool in self.tools or () if isinstance(tool, ForeignTool)]

    @property
    def form(self) -> JsonFormat | None:
        """The required format of the answer."""
        return (self.output_config and self.output_config.format) or self.output_format


class MessageRequest(ConversationRequest):
    """A request for an answer."""

    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    stop_sequences: Annotated[
        list[Annotated[str, Field(min_length=1)]] | None, Field(max_length=MAX_STOPS)
    ] = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)

    def ineffective_parameters(self) -> Iterator[str]:
        """Names of parameters that are unknown or have no effect."""
        for name, value in (self.model_extra or {}).items():
            harmless = IGNORED_PARAMETERS.get(name, ())
            if value is not None and harmless is not None and value not in harmless:
                yield name
        if self.thinking and self.thinking.get("type") != "disabled":
            yield "thinking"
        for kind in self.foreign_tools:
            yield f"tools.{kind}"


RequestT = TypeVar("RequestT", bound=ConversationRequest)


def parse_conversation(
    kind: type[RequestT], data: Any, max_messages: int, *, strict: bool = False
) -> RequestT:
    """Validate a request.

    Args:
        kind: The request model.
        data: The body.
        max_messages: Maximum number of messages.
        strict: Whether to reject unknown parameters and unsupported tools.

    Raises:
        ApiError: If a field is missing, has the wrong type, or is not supported.
    """
    check_object(data)
    check_length(data, "messages", max_messages)
    request = validate_request(kind, data)
    if isinstance(request, MessageRequest):
        _refuse_other_requests(request.model_extra or {})
    if strict:
        _refuse_parameters(request)
    _check_results(request.messages)
    return request


def _refuse_other_requests(extra: Mapping[str, Any]) -> None:
    """Reject what needs a stored conversation, or asks for something else than an answer."""
    if extra.get("thread") is not None:
        message = "thread: nothing is stored; expected the whole conversation in `messages`"
        raise ApiError(400, message, param="thread", code=THREAD_UNSUPPORTED)
    if extra.get("compaction") is not None:
        message = "compaction: not supported by this server"
        raise ApiError(400, message, param="compaction", code="unsupported_parameter")


def _refuse_parameters(request: ConversationRequest) -> None:
    for name in request.model_extra or {}:
        if name not in IGNORED_PARAMETERS:
            name = name[:MAX_VALUE_CHARS]  # noqa: PLW2901
            message = f"{name!r} is not a parameter of this server"
            raise ApiError(400, message, param=name, code="unknown_parameter")
    if kinds := request.foreign_tools:
        message = f"tools: {kinds[0][:MAX_VALUE_CHARS]!r} is not a tool that this server supports"
        raise ApiError(400, message, param="tools", code="unsupported_parameter")


def _check_results(messages: Sequence[MessageParam]) -> None:
    """Reject a tool result without its call in the conversation, as most providers do."""
    known = set[str]()
    for index, message in enumerate(messages):
        for position, block in enumerate(message.blocks):
            if isinstance(block, ToolUseBlock):
                known.add(block.id)
            elif isinstance(block, ToolResultBlock) and block.tool_use_id not in known:
                location = f"messages[{index}].content[{position}].tool_use_id"
                shown = block.tool_use_id[:MAX_VALUE_CHARS]
                text = f"{location}: no call {shown!r} in the messages before it"
                raise ApiError(400, text, param=location, code="unknown_tool_call")
