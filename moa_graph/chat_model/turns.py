"""Find the current user turn in the messages of a call."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import BaseTool, StructuredTool

_RANDOM_RUN = re.compile(r"[0-9A-Za-z]{16,}")


@dataclass(frozen=True)
class UserTurn:
    """A turn: the user message that started it, and the tool calls since."""

    conversation: str
    """Digest of the conversation up to and with the message that started the turn. It excludes
    what middleware changes between calls: system messages and cache control marks."""
    opening: str
    """Digest of the message that started the turn."""
    tool_call_ids: Sequence[str]
    """Ids of the tool calls whose results follow that message, newest first."""

    @property
    def is_in_tool_loop(self) -> bool:
        """Whether tool results follow the user message."""
        return bool(self.tool_call_ids)


def read_user_turn(
    messages: Sequence[BaseMessage], turn_ending_tools: Collection[str] = ()
) -> UserTurn:
    """Read the newest turn of a conversation.

    Args:
        messages: The conversation.
        turn_ending_tools: Names of tools whose result ends a turn.
    """
    spoken = [each for each in messages if not isinstance(each, SystemMessage)]
    opening = find_opening(spoken, turn_ending_tools)
    described = [*map(_describe, spoken[: opening + 1])]
    results = (each for each in reversed(spoken[opening:]) if isinstance(each, ToolMessage))
    return UserTurn(
        digest(described), digest(described[-1:]), [each.tool_call_id for each in results]
    )


def find_opening(messages: Sequence[BaseMessage], turn_ending_tools: Collection[str] = ()) -> int:
    """Find the user message that started the turn, or the first message if there is none.

    A user message directly after a tool result starts no turn: programs put files and reminders
    there.

    Args:
        messages: The conversation.
        turn_ending_tools: Names of tools whose result ends a turn.

    Returns:
        Its index.
    """
    opening, follows_result = 0, False
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            follows_result = message.name not in turn_ending_tools
        elif not isinstance(message, HumanMessage):
            follows_result = False
        elif not follows_result:
            opening = index
    return opening


def find_turn_ending_tools(tools: Sequence[Any]) -> frozenset[str]:
    """Return the names of tools whose result ends a turn.

    These are tools that return directly, and tools that are never run: agents of LangChain use such
    tools for structured answers (`ToolStrategy`).
    """
    return frozenset(
        tool.name
        for tool in tools
        if isinstance(tool, BaseTool) and (tool.return_direct or _is_never_run(tool))
    )


def is_unique_id(tool_call_id: str) -> bool:
    """Return whether an id is random: unlike `call_0` or `functions.search:0`."""
    runs = _RANDOM_RUN.findall(tool_call_id.replace("-", ""))
    return any(re.search(r"\d", run) for run in runs)


def digest(*values: Any) -> str:
    """Return a hash of plain values; other values are hashed by their text."""
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _is_never_run(tool: BaseTool) -> bool:
    return isinstance(tool, StructuredTool) and tool.func is None and tool.coroutine is None


def _describe(message: BaseMessage) -> list[Any]:
    """Return the content of a message in a form that all clients share."""
    if isinstance(message, AIMessage):
        return [message.type, message.text, [[c["name"], c["args"]] for c in message.tool_calls]]
    content = message.content
    blocks = [content] if isinstance(content, str) else content
    return [message.type, [_describe_block(block) for block in blocks]]


def _describe_block(block: Any) -> Any:
    """Return a content block as plain values, a text block as its text; without cache marks."""
    if isinstance(block, dict):
        if block.get("type") == "text":
            return block.get("text")
        items = (item for item in block.items() if item[0] != "cache_control")
        return {str(name): _describe_block(value) for name, value in items}
    return [*map(_describe_block, block)] if isinstance(block, list) else block
