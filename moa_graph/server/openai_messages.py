"""Convert OpenAI's messages to LangChain's. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from pydantic_core import from_json

from moa_graph.server.openai_request_messages import (
    MessageContent,
    RefusalPart,
    RequestMessage,
    RequestToolCall,
    ThoughtPart,
)

_MESSAGE_CLASSES: dict[str, type[SystemMessage | HumanMessage]] = {
    "system": SystemMessage,
    "developer": SystemMessage,  # other providers reject OpenAI's value
    "user": HumanMessage,
}


def to_langchain_messages(messages: Sequence[RequestMessage]) -> list[AnyMessage]:
    """Convert a conversation to LangChain's messages; images are not changed."""
    names = {
        call.id: call.function.name for message in messages for call in message.tool_calls or ()
    }
    return [_to_langchain_message(message, names) for message in messages]


def _to_langchain_message(message: RequestMessage, tool_names: Mapping[str, str]) -> AnyMessage:
    content = _to_langchain_content(message.content)
    if message.role == "assistant":
        return _to_ai_message(message, content)
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        name = message.name or tool_names.get(call_id)
        status = "error" if message.is_error else "success"
        return ToolMessage(content, tool_call_id=call_id, name=name, status=status)
    return _MESSAGE_CLASSES[message.role](content=content, name=message.name)


def _to_langchain_content(content: MessageContent | None) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    parts = [part for part in content if not isinstance(part, ThoughtPart)]
    return [
        {"type": "text", "text": part.refusal}
        if isinstance(part, RefusalPart)
        else part.model_dump(exclude_none=True)
        for part in parts
    ] or ""


def _to_ai_message(message: RequestMessage, content: Any) -> AIMessage:
    calls, invalid_calls = list[ToolCall](), list[InvalidToolCall]()
    for call in message.tool_calls or ():
        arguments = _read_arguments(call)
        if arguments is None:
            invalid_calls.append(
                InvalidToolCall(
                    name=call.function.name,
                    args=call.function.arguments,
                    id=call.id,
                    error=None,
                    type="invalid_tool_call",
                )
            )
        else:
            calls.append(ToolCall(name=call.function.name, args=arguments, id=call.id))
    return AIMessage(
        content=content, name=message.name, tool_calls=calls, invalid_tool_calls=invalid_calls
    )


def _read_arguments(call: RequestToolCall) -> dict[str, Any] | None:
    """Parse the arguments of a call; `None` if they are not a JSON object."""
    text = call.function.arguments
    if not text.strip():  # a tool without parameters
        return {}
    try:
        arguments = from_json(text)
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None
