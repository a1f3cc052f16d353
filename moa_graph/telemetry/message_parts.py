"""Messages as attributes of a span, in the format of the conventions."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.redaction import redact

_ROLES = {"human": "user", "ai": "assistant"}


def format_messages(messages: Iterable[BaseMessage]) -> str:
    """Format the messages of a prompt, without keys."""
    return _to_json(map(_to_message, messages))


def format_answer(message: AIMessage) -> str:
    """Format an answer, without keys."""
    reason = read_finish_reason(message) or "stop"
    return _to_json([_to_message(message) | {"finish_reason": reason}])


def _to_message(message: BaseMessage) -> dict[str, Any]:
    role = _ROLES.get(message.type, message.type)
    return {"role": role, "parts": [*_message_parts(message)]}


def _message_parts(message: BaseMessage) -> Iterator[dict[str, Any]]:
    if isinstance(message, ToolMessage):
        yield {
            "type": "tool_call_response",
            "id": message.tool_call_id,
            "response": str(message.text),
        }
        return
    yield from _content_parts(message.content)
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            arguments = {"id": call["id"], "name": call["name"], "arguments": call["args"]}
            yield {"type": "tool_call", **arguments}


def _content_parts(content: str | Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Return the texts of a content, and only the types of other blocks."""
    for block in [content] if isinstance(content, str) else content:
        if isinstance(block, str):
            if block:
                yield {"type": "text", "content": block}
        elif isinstance(block, Mapping) and block.get("type") == "text":
            yield {"type": "text", "content": block.get("text", "")}
        elif isinstance(block, Mapping) and block.get("type") != "tool_use":
            yield {"type": str(block.get("type"))}


def _to_json(messages: Iterable[Any]) -> str:
    return redact(json.dumps([*messages], ensure_ascii=False, default=str))
