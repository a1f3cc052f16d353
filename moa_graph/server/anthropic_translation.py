"""Translate Anthropic's requests to OpenAI's. Pure functions."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from moa_graph.prompting.attachments import enclose_file
from moa_graph.server.anthropic_content import (
    Base64Source,
    DocumentBlock,
    ImageBlock,
    MessageParam,
    SearchResultBlock,
    TextBlock,
    TextSource,
    ToolResultBlock,
    ToolUseBlock,
)
from moa_graph.server.anthropic_requests import (
    ConversationRequest,
    CustomTool,
    MessageRequest,
    ToolChoice,
)
from moa_graph.server.json_body import explain_validation_error
from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_request_messages import (
    CalledFunction,
    ImagePart,
    ImageUrl,
    RequestMessage,
    RequestToolCall,
    TextPart,
    require_open_conversation,
)
from moa_graph.server.openai_requests import (
    ChatRequest,
    FunctionDefinition,
    FunctionTool,
    JsonSchema,
    JsonSchemaFormat,
)

Part = TextPart | ImagePart

_UNQUOTABLE = re.compile(r'["\s]+')


def to_chat_request(request: MessageRequest) -> ChatRequest:
    """Convert a request to a chat request.

    Raises:
        ApiError: If it requires a tool that does not exist, or has no content to answer.
    """
    choice, messages = request.tool_choice, to_chat_messages(request)
    require_open_conversation(messages)
    fields: JsonObject = {
        "model": request.model,
        "messages": messages,
        "stream": request.stream,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k or None,
        "stop": request.stop_sequences or None,
        "reasoning_effort": _to_reasoning_effort(request),
        "response_format": _to_response_format(request),
        "tools": to_chat_tools(request) or None,
        "tool_choice": _to_tool_choice(choice) if choice else None,
        "parallel_tool_calls": False if choice and choice.disable_parallel_tool_use else None,
    }
    try:
        return ChatRequest(**fields)
    except ValidationError as error:  # single fields are already validated
        raise explain_validation_error(error, fields) from None


def _to_reasoning_effort(request: MessageRequest) -> str | None:
    """Return the effort, unless it is Anthropic's default, which clients always send."""
    effort = request.output_config.effort if request.output_config else None
    return None if effort == "high" else effort


def to_chat_tools(request: ConversationRequest) -> list[FunctionTool]:
    """Convert the tools that models support to OpenAI's."""
    return [_to_function_tool(tool) for tool in request.custom_tools]


def to_chat_messages(request: ConversationRequest) -> list[RequestMessage]:
    """Convert a conversation to OpenAI's messages, where tool results are separate messages.

    Consecutive messages of one role are merged, as at Anthropic.
    """
    messages = list[RequestMessage]()
    if request.system:
        messages.append(_to_system_message(request.system))
    for role, run in groupby(request.messages, key=lambda message: message.role):
        messages += _to_messages(role, run)
    return messages


def _to_messages(role: str, run: Iterable[MessageParam]) -> Iterator[RequestMessage]:
    if role == "system":
        return (_to_system_message(message.blocks) for message in run)
    blocks = [block for message in run for block in message.blocks]
    return _to_user_messages(blocks) if role == "user" else _to_assistant_messages(blocks)


def _to_system_message(system: str | Sequence[TextBlock]) -> RequestMessage:
    """Return a system prompt as one text: some servers accept nothing else."""
    texts = [system] if isinstance(system, str) else [block.text for block in system]
    return RequestMessage(role="system", content="\n\n".join(texts))


def _to_assistant_messages(blocks: Sequence[Any]) -> Iterator[RequestMessage]:
    """Convert an answer to a message; to none if it has only reasoning."""
    calls = [
        RequestToolCall(
            id=block.id,
            function=CalledFunction(
                name=block.name, arguments=json.dumps(block.input, ensure_ascii=False)
            ),
        )
        for block in blocks
        if isinstance(block, ToolUseBlock)
    ]
    parts = [part for block in blocks for part in _to_parts(block)]
    if calls or parts:
        content = _simplify(parts) if parts else None
        yield RequestMessage(role="assistant", content=content, tool_calls=calls or None)


def _to_user_messages(blocks: Sequence[Any]) -> Iterator[RequestMessage]:
    """Convert a user message: each tool result becomes a separate message.

    Images of results follow in a user message, because most providers accept only text in results.
    """
    images = list[Part]()
    for block in blocks:
        if isinstance(block, ToolResultBlock):
            message, result_images = _to_result_message(block)
            yield message
            images += result_images
    parts = [*images, *(part for block in blocks for part in _to_parts(block))]
    if parts:
        yield RequestMessage(role="user", content=_simplify(parts))


def _to_result_message(block: ToolResultBlock) -> tuple[RequestMessage, list[Part]]:
    """Convert a tool result to a message and a list of its images."""
    if isinstance(block.content, list):
        parts = [part for each in block.content for part in _to_parts(each)]
    else:
        parts = [TextPart(type="text", text=block.content or "")]
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    images: list[Part] = [part for part in parts if isinstance(part, ImagePart)]
    if images:
        label = f"What the call {block.tool_use_id} gave back as images:"
        images.insert(0, TextPart(type="text", text=label))
    message = RequestMessage(
        role="tool",
        content=text,
        tool_call_id=block.tool_use_id,
        is_error=block.is_error or None,
    )
    return message, images


def _to_parts(block: Any) -> Iterator[Part]:
    """Convert a block to parts of a message; calls, results and reasoning have none."""
    match block:
        case TextBlock():
            yield TextPart(type="text", text=block.text)
        case ImageBlock():
            yield _to_image_part(block)
        case DocumentBlock():
            yield from _document_parts(block)
        case SearchResultBlock():
            name = f"{block.title} ({block.source})"
            yield _to_file_part(name, "\n".join(each.text for each in block.content))


def _to_image_part(block: ImageBlock) -> ImagePart:
    source = block.source
    if isinstance(source, Base64Source):
        url = f"data:{source.media_type};base64,{source.data}"
    else:
        url = source.url
    return ImagePart(type="image_url", image_url=ImageUrl(url=url))


def _document_parts(block: DocumentBlock) -> Iterator[Part]:
    """Convert a document to an attached file, followed by its images."""
    content = block.source.data if isinstance(block.source, TextSource) else block.source.content
    blocks = [TextBlock(type="text", text=content)] if isinstance(content, str) else content
    texts = [each.text for each in blocks if isinstance(each, TextBlock)]
    yield _to_file_part(
        block.title or "document", "\n\n".join(filter(None, [block.context, *texts]))
    )
    yield from (_to_image_part(each) for each in blocks if isinstance(each, ImageBlock))


def _to_file_part(name: str, text: str) -> TextPart:
    return TextPart(type="text", text=enclose_file(text, _UNQUOTABLE.sub(" ", name)))


def _simplify(parts: Sequence[Part]) -> Any:
    """Return a single text part as a string: some servers do not accept parts."""
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return list(parts)


def _to_function_tool(tool: CustomTool) -> FunctionTool:
    function: JsonObject = {"name": tool.name, "parameters": tool.input_schema}
    function |= {"description": tool.description} if tool.description else {}
    function |= {"strict": True} if tool.strict and is_closed_schema(tool.input_schema) else {}
    return FunctionTool(type="function", function=FunctionDefinition(**function))


def _to_tool_choice(choice: ToolChoice) -> Any:
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return "required" if choice.type == "any" else choice.type


def _to_response_format(request: MessageRequest) -> JsonSchemaFormat | None:
    if request.form is None:
        return None
    schema = request.form.schema_
    fields: JsonObject = {"name": "answer", "schema": schema}
    fields |= {"strict": True} if is_closed_schema(schema) else {}
    return JsonSchemaFormat(type="json_schema", json_schema=JsonSchema(**fields))


def is_closed_schema(schema: Any) -> bool:
    """Return whether OpenAI's API can enforce a schema strictly.

    Each object in such a schema requires all of its properties, and allows no others.
    """
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if schema.get("type") == "object" or isinstance(properties, Mapping):
            required = schema.get("required")
            names = set(properties) if isinstance(properties, Mapping) else set()
            is_closed = schema.get("additionalProperties") is False
            if not is_closed or not isinstance(required or [], list) or names - set(required or []):
                return False
        return all(map(is_closed_schema, schema.values()))
    return all(map(is_closed_schema, schema)) if isinstance(schema, list) else True
