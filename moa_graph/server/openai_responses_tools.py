"""Tools of OpenAI's Responses API, and their conversion to functions.

A custom tool takes a text: for the aggregator it is a function with one parameter. A namespace is a
group of tools. Tools that OpenAI runs cannot be called here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from pydantic_core import from_json, to_json

from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_requests import MAX_TOOLS, FunctionDefinition
from moa_graph.server.request_checks import RequestPart

TEXT_PARAMETER = "input"
"""Name of the only parameter of a custom tool."""

_MAX_FORMAT_CHARS = 20_000  # characters of a grammar in a description
_MAX_NAME_CHARS = 64  # most providers reject longer names


class FunctionTool(FunctionDefinition):
    """A function that can be called."""

    type: Literal["function"]


class CustomTool(RequestPart):
    """A tool that takes a text, possibly with a grammar."""

    type: Literal["custom"]
    name: str = Field(min_length=1, max_length=200)
    description: str | None = None
    format: dict[str, Any] | None = None


class OtherTool(RequestPart):
    """A tool that OpenAI runs; it has no effect here."""

    type: str


def _tool_tag(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return kind if kind in {"custom", "function", "namespace"} else "other"


def _inner_tool_tag(tool: Any) -> str:
    tag = _tool_tag(tool)
    return "other" if tag == "namespace" else tag


InnerTool = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[CustomTool, Tag("custom")]
    | Annotated[OtherTool, Tag("other")],
    Discriminator(_inner_tool_tag),
]


class NamespaceTool(RequestPart):
    """A group of tools."""

    type: Literal["namespace"]
    name: str = Field(min_length=1, max_length=200)
    tools: Annotated[list[InnerTool], Field(max_length=MAX_TOOLS)]


Tool = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[CustomTool, Tag("custom")]
    | Annotated[NamespaceTool, Tag("namespace")]
    | Annotated[OtherTool, Tag("other")],
    Discriminator(_tool_tag),
]


@dataclass(frozen=True)
class CallableTool:
    """A tool that the aggregator can call."""

    tool: FunctionTool | CustomTool
    namespace: str | None
    chat_name: str
    """Name for the aggregator."""

    @property
    def takes_text(self) -> bool:
        """Whether it is a custom tool."""
        return isinstance(self.tool, CustomTool)

    def to_chat_tool(self) -> JsonObject:
        """Return the tool in the format of chat completions."""
        if isinstance(self.tool, CustomTool):
            function = _describe_custom_tool(self.tool)
        else:
            function = self.tool.model_dump(exclude_unset=True, exclude={"type"})
        return {"type": "function", "function": function | {"name": self.chat_name}}


def list_callable_tools(tools: Iterable[Any]) -> list[CallableTool]:
    """Return the tools that the aggregator can call, including those of namespaces.

    If several have the same name, their namespace is its prefix.
    """
    callable_tools = [*_find_callable_tools(tools)]
    counts = Counter(tool.name for _, tool in callable_tools)
    return [
        CallableTool(tool, namespace, _chat_name(namespace, tool.name, counts[tool.name] > 1))
        for namespace, tool in callable_tools
    ]


def list_other_types(tools: Iterable[Any]) -> Iterator[str]:
    """Return the types of tools that have no effect."""
    for tool in tools:
        if isinstance(tool, OtherTool):
            yield tool.type
        elif isinstance(tool, NamespaceTool):
            yield from list_other_types(tool.tools)


def write_text_arguments(text: str) -> str:
    """Encode the text for a custom tool as arguments of a function."""
    return to_json({TEXT_PARAMETER: text}).decode()


def read_text_arguments(arguments: str) -> str:
    """Decode the text for a custom tool; arguments in another format are the text."""
    try:
        text = from_json(arguments)[TEXT_PARAMETER]
    except (ValueError, TypeError, KeyError, IndexError):
        return arguments
    return text if isinstance(text, str) else arguments


def _find_callable_tools(
    tools: Iterable[Any], namespace: str | None = None
) -> Iterator[tuple[str | None, FunctionTool | CustomTool]]:
    for tool in tools:
        if isinstance(tool, (FunctionTool, CustomTool)):
            yield namespace, tool
        elif isinstance(tool, NamespaceTool):
            yield from _find_callable_tools(tool.tools, tool.name)


def _chat_name(namespace: str | None, name: str, is_shared: bool) -> str:  # noqa: FBT001  # of a private function
    return f"{namespace}__{name}"[-_MAX_NAME_CHARS:] if namespace and is_shared else name


def _describe_custom_tool(tool: CustomTool) -> JsonObject:
    """Convert a custom tool to a function that describes its format, which nothing enforces."""
    text: JsonObject = {"type": "string"}
    if tool.format and tool.format.get("type") != "text":
        form = to_json(tool.format.get("definition") or tool.format).decode()[:_MAX_FORMAT_CHARS]
        text["description"] = f"In this form: {form}"
    parameters = {"type": "object", "properties": {TEXT_PARAMETER: text}}
    described = {"description": tool.description} if tool.description else {}
    return {**described, "parameters": parameters | {"required": [TEXT_PARAMETER]}}


def echo_tools(tools: Sequence[CallableTool]) -> list[JsonObject]:
    """Return the functions as a response repeats them."""
    unsaid = {"description": None, "parameters": None, "strict": None}
    return [
        unsaid | each.tool.model_dump(exclude_unset=True)
        for each in tools
        if isinstance(each.tool, FunctionTool)
    ]
