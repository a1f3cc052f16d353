"""Plan which parameters of a request apply to the aggregator and its fallbacks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from moa_graph.chat_model.model import ChatMoA
from moa_graph.json_size import count_json_items
from moa_graph.models.capabilities import ModelCapabilities
from moa_graph.prompting.tool_text import describe_tools_in_text
from moa_graph.server.errors import ApiError
from moa_graph.server.json_body import too_many_items_error
from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_messages import to_langchain_messages
from moa_graph.server.openai_requests import (
    ChatRequest,
    FunctionTool,
    JsonSchemaFormat,
    NamedToolChoice,
)
from moa_graph.server.prefill import ask_to_continue
from moa_graph.server.service import Capability, MixtureService

_PREFERENCES = ("frequency_penalty", "presence_penalty", "top_k", "verbosity")
"""Parameters that are left out if a writer does not support them."""


@dataclass(frozen=True)
class AnswerPlan:
    """The plan for answering a request."""

    chat_model: ChatMoA
    messages: Sequence[AnyMessage]
    options: Mapping[str, Any]
    """Options of the chat model call, supported by all writers."""
    ineffective: Sequence[str]
    """Parameters of the request that have no effect."""
    count: int = 1
    """Number of answers from the same proposals."""
    beginning: str = ""
    """The beginning of the answer, which the client has sent."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of parameters in the client's dialect, if they differ."""
    config: RunnableConfig = field(default_factory=RunnableConfig)
    """The config of the run."""

    def with_config(self, config: RunnableConfig) -> Self:
        """Copy the plan with a config for the run."""
        return replace(self, config=config)


def plan_answer(
    service: MixtureService, chat_request: ChatRequest, names: Mapping[str, str] | None = None
) -> AnswerPlan:
    """Plan how to answer a request.

    Tools that the aggregator cannot call are left out, if a text answer is allowed.

    Args:
        service: The service.
        chat_request: The request.
        names: Names of parameters in the client's dialect, if they differ; errors and
            `ineffective` use them.

    Raises:
        ApiError: If there is no such mixture, or its aggregator does not support the requested
            form; if the arguments of its tool calls have too many items; with `strict`, also if a
            parameter has no effect.
    """
    names = names or {}
    _check_argument_count(chat_request, service.limits.body_items)
    aggregator = service.get_model(chat_request.model).writers[0]
    needs = frozenset(_find_needs(chat_request, aggregator))
    served = service.get_model(chat_request.model, chat_request.writer_settings, needs)
    _require_form(chat_request, served.writers[0], names)
    uses_tools = "calls_tools" in needs
    dropped = [] if uses_tools or not chat_request.wants_tools else ["tools"]
    options, untaken = _choose_parameters(chat_request, served.writers, uses_tools=uses_tools)
    if uses_tools:
        options |= _tool_options(chat_request)
    untaken = [names.get(each, each) for each in (*dropped, *served.ineffective, *untaken)]
    if service.api.strict and untaken:
        raise _not_taken_error(untaken[0], chat_request.model)
    messages: Sequence[AnyMessage] = to_langchain_messages(chat_request.messages)
    if not uses_tools and not all(each.is_openai_based for each in served.writers):
        messages = describe_tools_in_text(messages)  # models without tools may reject tool calls
    beginning = chat_request.beginning
    return AnswerPlan(
        served.chat_model,
        ask_to_continue(messages) if beginning else messages,
        options,
        [*chat_request.ineffective_parameters(), *untaken],
        count=chat_request.n or 1,
        beginning=beginning,
        names=names,
    )


def _check_argument_count(chat_request: ChatRequest, limit: int) -> None:
    """Reject arguments of tool calls with more items than a body may have: they are JSON too."""
    calls = (call for message in chat_request.messages for call in message.tool_calls or ())
    count = sum(count_json_items(call.function.arguments.encode(), limit) for call in calls)
    if count > limit:
        raise too_many_items_error("the arguments of the tool calls", count, limit)


def _require_form(
    chat_request: ChatRequest, aggregator: ModelCapabilities, names: Mapping[str, str]
) -> None:
    """Reject a request whose answer format is not supported."""
    forms = (
        ("tool_choice", chat_request.must_call_tool, aggregator.calls_tools),
        ("response_format", chat_request.wants_json, "response_format" in aggregator.parameters),
        ("logprobs", chat_request.logprobs, "logprobs" in aggregator.parameters),
    )
    for parameter, is_wanted, is_possible in forms:
        if is_wanted and not is_possible:
            raise _not_taken_error(names.get(parameter, parameter), chat_request.model)


def _not_taken_error(parameter: str, model: str) -> ApiError:
    message = f"{parameter}: not supported by the aggregator of {model!r}"
    return ApiError(400, message, param=parameter, code="unsupported_parameter")


def _find_needs(chat_request: ChatRequest, aggregator: ModelCapabilities) -> Iterator[Capability]:
    """Return the required capabilities of each fallback."""
    if chat_request.wants_tools and aggregator.calls_tools:
        yield "calls_tools"
    if chat_request.wants_json:
        yield "response_format"
    if chat_request.logprobs:
        yield "logprobs"


def _choose_parameters(
    chat_request: ChatRequest, writers: Sequence[ModelCapabilities], *, uses_tools: bool
) -> tuple[JsonObject, list[str]]:
    """Return the parameters that all writers support, and the names of the others."""
    taken = frozenset.intersection(*(each.parameters for each in writers))
    given = {name: value for name in _PREFERENCES if (value := getattr(chat_request, name))}
    body = {name: value for name, value in given.items() if name in taken}
    untaken = [name for name in given if name not in taken]
    if chat_request.wants_json:
        body["response_format"] = _response_format(chat_request)
    if chat_request.logprobs:
        body["logprobs"] = True
        body |= {"top_logprobs": top} if (top := chat_request.top_logprobs) else {}
    as_body = all(each.takes_extra_body for each in writers)
    options: JsonObject = ({"extra_body": body} if as_body else body) if body else {}
    if uses_tools and chat_request.parallel_tool_calls is not None:
        if "parallel_tool_calls" in taken:
            options["parallel_tool_calls"] = chat_request.parallel_tool_calls
        else:
            untaken.append("parallel_tool_calls")
    return options, untaken


def _response_format(chat_request: ChatRequest) -> JsonObject:
    given = chat_request.response_format
    if not isinstance(given, JsonSchemaFormat):
        return {"type": "json_object"}
    schema = given.json_schema.model_dump(by_alias=True, exclude_unset=True)
    return {"type": "json_schema", "json_schema": schema}


def _tool_options(chat_request: ChatRequest) -> JsonObject:
    """Return LangChain's options for the tools and the tool choice."""
    options: JsonObject = {"tools": [_to_tool(tool) for tool in chat_request.tools or ()]}
    choice = chat_request.tool_choice
    if isinstance(choice, NamedToolChoice):
        options["tool_choice"] = choice.function.name
    elif choice == "required":
        options["tool_choice"] = "any"
    return options


def _to_tool(tool: FunctionTool) -> JsonObject:
    function = tool.function.model_dump(exclude_unset=True)
    return {
        "type": "function",
        "function": {name: value for name, value in function.items() if value is not None},
    }
