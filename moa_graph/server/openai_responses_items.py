"""Input items of OpenAI's Responses API, and their conversion to chat messages."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag

from moa_graph.server.errors import ApiError
from moa_graph.server.json_body import MAX_VALUE_CHARS
from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_request_messages import RefusalPart, RequestMessage
from moa_graph.server.openai_responses_tools import write_text_arguments
from moa_graph.server.request_checks import RequestPart


class TextContent(RequestPart):
    """A text part."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class ImageContent(RequestPart):
    """An image part."""

    type: Literal["input_image"]
    image_url: str
    detail: str | None = None


Content = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[
        list[Annotated[TextContent | ImageContent | RefusalPart, Discriminator("type")]],
        Field(fail_fast=True),
        Tag("parts"),
    ],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "text"),
]


class MessageItem(RequestPart):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class FunctionCallItem(RequestPart):
    """A call in an earlier answer."""

    type: Literal["function_call"]
    call_id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    namespace: str | None = None
    arguments: str


class CustomCallItem(RequestPart):
    """A call of a custom tool in an earlier answer."""

    type: Literal["custom_tool_call"]
    call_id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    namespace: str | None = None
    input: str


class CallOutputItem(RequestPart):
    """The result of a call."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: Content


_OUTPUT_TYPES = ("function_call_output", "custom_tool_call_output")

OtherType = Literal[
    "code_interpreter_call",
    "file_search_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
    "reasoning",
    "web_search_call",
]


class OtherItem(RequestPart):
    """Reasoning of models, or tools that OpenAI ran: ignored here."""

    type: OtherType


_ITEM_TYPES = (
    "message",
    "function_call",
    "custom_tool_call",
    *_OUTPUT_TYPES,
    *get_args(OtherType),
)


def _item_tag(item: Any) -> Any:
    if not isinstance(item, dict):
        return "message"
    kind = item.get("type")
    if kind is None:
        return "message"
    if kind in get_args(OtherType):
        return "other"
    return "output" if kind in _OUTPUT_TYPES else kind


InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[CustomCallItem, Tag("custom_tool_call")]
    | Annotated[CallOutputItem, Tag("output")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(
        _item_tag,
        custom_error_type="unknown_item",
        custom_error_message=f"expected an item of the types {', '.join(_ITEM_TYPES)}",
    ),
]


def to_chat_messages(
    input_items: str | Sequence[InputItem],
    instructions: str | None,
    names: Mapping[tuple[str | None, str], str],
) -> list[RequestMessage]:
    """Convert an input to chat messages; consecutive output of an assistant becomes one message.

    Args:
        input_items: The input.
        instructions: Instructions before it.
        names: Names of tools for the aggregator, by namespace and name.

    Raises:
        ApiError: If it has no message, or a tool result without its call.
    """
    messages = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(input_items, str):
        messages.append({"role": "user", "content": input_items})
    else:
        _check_results(input_items)
        for message in filter(None, (_to_message(item, names) for item in input_items)):
            is_assistants = message["role"] == "assistant"
            if is_assistants and messages and messages[-1]["role"] == "assistant":
                messages[-1] = _join_messages(messages[-1], message)
            else:
                messages.append(message)
    if not any(message["role"] != "system" for message in messages):
        raise ApiError(400, "input: expected a message", param="input", code="nothing_to_answer")
    return [RequestMessage.model_validate(message) for message in messages]


def _check_results(items: Sequence[InputItem]) -> None:
    """Reject a tool result without its call in the input: nothing is stored here."""
    call_ids = set[str]()
    for index, item in enumerate(items):
        if isinstance(item, (FunctionCallItem, CustomCallItem)):
            call_ids.add(item.call_id)
        elif isinstance(item, CallOutputItem) and item.call_id not in call_ids:
            location, printable_id = f"input[{index}].call_id", item.call_id[:MAX_VALUE_CHARS]
            message = f"{location}: no call {printable_id!r} in the items before it"
            raise ApiError(400, message, param=location, code="unknown_tool_call")


def _to_message(item: InputItem, names: Mapping[tuple[str | None, str], str]) -> JsonObject | None:
    match item:
        case MessageItem(role="assistant"):
            return {"role": "assistant", "content": _read_text(item.content), "tool_calls": []}
        case MessageItem():
            return {"role": item.role, "content": _to_chat_content(item.content)}
        case FunctionCallItem():
            return _to_calling_message(item, item.arguments, names)
        case CustomCallItem():
            return _to_calling_message(item, write_text_arguments(item.input), names)
        case CallOutputItem():
            content = _to_chat_content(item.output)
            return {"role": "tool", "tool_call_id": item.call_id, "content": content}
    return None


def _to_calling_message(
    item: FunctionCallItem | CustomCallItem,
    arguments: str,
    names: Mapping[tuple[str | None, str], str],
) -> JsonObject:
    name = names.get((item.namespace, item.name), item.name)
    function = {"name": name, "arguments": arguments}
    call = {"id": item.call_id, "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _join_messages(first: JsonObject, second: JsonObject) -> JsonObject:
    texts = filter(None, (first["content"], second["content"]))
    calls = [*first["tool_calls"], *second["tool_calls"]]
    return {"role": "assistant", "content": "\n\n".join(texts), "tool_calls": calls}


def _read_text(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return content
    return "".join(
        part.refusal if isinstance(part, RefusalPart) else getattr(part, "text", "")
        for part in content
    )


def _to_chat_content(content: str | Sequence[Any]) -> str | list[JsonObject]:
    if isinstance(content, str):
        return content
    return [*map(_to_chat_part, content)] or ""


def _to_chat_part(part: TextContent | ImageContent | RefusalPart) -> JsonObject:
    if isinstance(part, ImageContent):
        url = part.model_dump(include={"detail"}, exclude_none=True) | {"url": part.image_url}
        return {"type": "image_url", "image_url": url}
    return {"type": "text", "text": part.refusal if isinstance(part, RefusalPart) else part.text}
