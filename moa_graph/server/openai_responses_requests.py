"""The request body of `POST /v1/responses`, and its translation to `ChatRequest`."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from moa_graph.models.providers import ReasoningEffort
from moa_graph.server.errors import ApiError
from moa_graph.server.json_body import (
    MAX_VALUE_CHARS,
    format_value,
)
from moa_graph.server.openai_request_messages import require_open_conversation
from moa_graph.server.openai_requests import MAX_TOOLS, ChatRequest, tag_tool_choice
from moa_graph.server.openai_responses_items import InputItem, to_chat_messages
from moa_graph.server.openai_responses_tools import (
    CallableTool,
    Tool,
    list_callable_tools,
    list_other_types,
)
from moa_graph.server.request_checks import (
    RequestPart,
    check_length,
    check_object,
    ineffective_parameters,
    refuse_parameters,
    validate_request,
)

UNSUPPORTED_PARAMETERS: Mapping[str, Sequence[Any]] = {
    "background": (False,),
    "context_management": ([],),
    "conversation": (),
    "moderation": (),
    "previous_response_id": (),
    "prompt": (),
}
"""Unsupported parameters that would change the answer, with the values that do not."""

PARAMETER_NAMES = {
    "logprobs": "include",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
"""Names of `ChatRequest` parameters in this dialect, if they differ."""

LOGPROBS = "message.output_text.logprobs"
_UNHEEDED = ("max_tool_calls", "truncation")
_HARMLESS = {"truncation": "disabled"}


class NamedTool(RequestPart):
    """A tool by its name."""

    type: Literal["custom", "function"]
    name: str


class AllowedTools(RequestPart):
    """A subset of the tools."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class TextFormat(RequestPart):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class JsonSchemaFormat(RequestPart):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    name: str = Field(min_length=1)
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextOptions(RequestPart):
    """Format of the answer's text."""

    format: Annotated[TextFormat | JsonSchemaFormat, Discriminator("type")] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(RequestPart):
    """Reasoning effort of the models; summaries are not supported."""

    effort: ReasoningEffort | None = None
    summary: str | None = None
    generate_summary: str | None = None


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("mode")]
    | Annotated[NamedTool, Tag("named")]
    | Annotated[AllowedTools, Tag("allowed")],
    Discriminator(tag_tool_choice),
]
Input = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[InputItem], Field(min_length=1, fail_fast=True), Tag("items")],
    Discriminator(lambda value: "items" if isinstance(value, list) else "text"),
]


class ResponsesRequest(BaseModel):
    """A request for an answer."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, hide_input_in_errors=True
    )

    model: str = Field(min_length=1, max_length=200)
    input: Input
    instructions: str | None = None
    stream: bool | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    tools: Annotated[list[Tool] | None, Field(max_length=MAX_TOOLS)] = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[str] | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    stream_options: dict[str, Any] | None = None

    @cached_property
    def callable_tools(self) -> list[CallableTool]:
        """The tools that may be called."""
        tools = list_callable_tools(self.tools or ())
        if not isinstance(self.tool_choice, AllowedTools):
            return tools
        allowed = {tool.name for tool in self.tool_choice.tools}
        return [each for each in tools if each.tool.name in allowed]

    def ineffective_parameters(self) -> Iterator[str]:
        """Names of parameters without effect, and types of tools that only OpenAI can run."""
        yield from dict.fromkeys(f"tools.{each}" for each in list_other_types(self.tools or ()))
        for name in _UNHEEDED:
            if (value := getattr(self, name)) is not None and value != _HARMLESS.get(name):
                yield name
        if self.reasoning and (self.reasoning.summary or self.reasoning.generate_summary):
            yield "reasoning.summary"
        own = self.model_dump(include={"metadata", "store"}, exclude_none=True)
        extra = own | (self.model_extra or {})
        names = ineffective_parameters(extra)
        yield from (name for name in names if name not in UNSUPPORTED_PARAMETERS)


def parse_responses_request(
    data: Any, max_items: int, *, strict: bool = False
) -> tuple[ResponsesRequest, ChatRequest]:
    """Validate a request.

    Args:
        data: The body.
        max_items: Maximum number of input items.
        strict: Whether to reject unknown or ineffective parameters.

    Returns:
        The request, and its chat request.

    Raises:
        ApiError: If a field is missing, has the wrong type, or is not supported; `param` names it.
    """
    check_object(data)
    refuse_parameters(data, ResponsesRequest, UNSUPPORTED_PARAMETERS, strict=strict)
    check_length(data, "input", max_items)
    request = validate_request(ResponsesRequest, data)
    if strict and (others := list(list_other_types(request.tools or ()))):
        message = f"tools: expected functions and custom tools, got {format_value(others[0])}"
        raise ApiError(400, message, param="tools", code="unsupported_parameter")
    return request, _to_chat_request(request)


def _to_chat_request(request: ResponsesRequest) -> ChatRequest:
    names = {(each.namespace, each.tool.name): each.chat_name for each in request.callable_tools}
    messages = to_chat_messages(request.input, request.instructions, names)
    require_open_conversation(messages, "input")
    text, reasoning = (
        request.text or TextOptions(),
        request.reasoning or ReasoningOptions(),
    )
    wants_logprobs = LOGPROBS in (request.include or ()) or bool(request.top_logprobs)
    _check_tools(request)
    tools: list[Any] = [each.to_chat_tool() for each in request.callable_tools]
    return ChatRequest(
        model=request.model,
        messages=messages,
        stream=request.stream,
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_output_tokens,
        reasoning_effort=reasoning.effort,
        verbosity=text.verbosity,
        response_format=_response_format(text),
        logprobs=wants_logprobs or None,
        top_logprobs=request.top_logprobs,
        tools=tools or None,
        tool_choice=_to_chat_choice(request.tool_choice, names),
        parallel_tool_calls=request.parallel_tool_calls,
    )


def _check_tools(request: ResponsesRequest) -> None:
    """Reject too many tools, and a choice of a tool that cannot be called."""
    names = [each.tool.name for each in request.callable_tools]
    if len(names) > MAX_TOOLS:
        message = f"tools: got {len(names):,}; expected at most {MAX_TOOLS}"
        raise ApiError(400, message, param="tools")
    choice = request.tool_choice
    is_missing = ((choice == "required" or isinstance(choice, AllowedTools)) and not names) or (
        isinstance(choice, NamedTool) and choice.name not in names
    )
    if is_missing:
        expected = f"expected one of: {', '.join(names)[: 10 * MAX_VALUE_CHARS]}"
        message = (
            f"tool_choice: no such function in `tools`; {expected if names else 'it has none'}"
        )
        raise ApiError(400, message, param="tool_choice")


def _response_format(text: TextOptions) -> Any:
    if not isinstance(text.format, JsonSchemaFormat):
        return text.format and text.format.model_dump()
    schema = text.format.model_dump(by_alias=True, exclude_unset=True, exclude={"type"})
    return {"type": "json_schema", "json_schema": schema}


def _to_chat_choice(choice: Any, names: Mapping[tuple[str | None, str], str]) -> Any:
    if isinstance(choice, NamedTool):
        chat_names = (chat_name for (_, name), chat_name in names.items() if name == choice.name)
        return {"type": "function", "function": {"name": next(chat_names)}}
    return choice.mode if isinstance(choice, AllowedTools) else choice
