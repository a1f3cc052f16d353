"""Which turn of the user a call belongs to, read from its messages alone. Pure functions."""

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
    """A turn: the user's message that opened it, and the tools that were called since."""

    conversation: str
    """Digest of the conversation up to and with the message that opened the turn, without what
    middleware changes between two calls: system messages and marks for a provider's cache."""
    opening: str
    """Digest of that message alone."""
    tool_call_ids: Sequence[str]
    """Ids of the calls whose results follow it, the newest first."""

    @property
    def is_in_tool_loop(self) -> bool:
        """Whether there are results of tools after the user's message."""
        return bool(self.tool_call_ids)


def read_user_turn(
    messages: Sequence[BaseMessage], turn_ending_tools: Collection[str] = ()
) -> UserTurn:
    """Read the newest turn of a conversation.

    Args:
        messages: The conversation.
        turn_ending_tools: Names of tools whose result ends a turn: the user speaks next.
    """
    spoken = [each for each in messages if not isinstance(each, SystemMessage)]
    opening = _find_opening(spoken, turn_ending_tools)
    described = [*map(_describe, spoken[: opening + 1])]
    results = (each for each in reversed(spoken[opening:]) if isinstance(each, ToolMessage))
    return UserTurn(
        digest(described), digest(described[-1:]), [each.tool_call_id for each in results]
    )


def find_turn_ending_tools(tools: Sequence[Any]) -> frozenset[str]:
    """Name the tools whose result ends a turn.

    They return directly, or nobody runs them: LangChain's agents so have a structured answer
    written (`ToolStrategy`).
    """
    return frozenset(
        tool.name
        for tool in tools
        if isinstance(tool, BaseTool) and (tool.return_direct or _is_never_run(tool))
    )


def is_unique_id(tool_call_id: str) -> bool:
    """Tell whether an id is random enough to occur once: not `call_0`, nor `functions.search:0`."""
    runs = _RANDOM_RUN.findall(tool_call_id.replace("-", ""))
    return any(re.search(r"\d", run) for run in runs)


def digest(*values: Any) -> str:
    """Hash plain values; others by their text."""
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _find_opening(messages: Sequence[BaseMessage], turn_ending_tools: Collection[str]) -> int:
    """Find the user's message that opened the turn; the first message where there is none.

    One that directly follows the result of a tool opens none: programs put files and reminders
    there.
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


def _is_never_run(tool: BaseTool) -> bool:
    return isinstance(tool, StructuredTool) and tool.func is None and tool.coroutine is None


def _describe(message: BaseMessage) -> list[Any]:
    """Say what was said, however a client writes it down."""
    if isinstance(message, AIMessage):
        return [message.type, message.text, [[c["name"], c["args"]] for c in message.tool_calls]]
    content = message.content
    blocks = [content] if isinstance(content, str) else content
    return [message.type, [_describe_block(block) for block in blocks]]


def _describe_block(block: Any) -> Any:
    """Give a block as plain values, a text as itself; without marks for a provider's cache."""
    if isinstance(block, dict):
        if block.get("type") == "text":
            return block.get("text")
        kept = (item for item in block.items() if item[0] != "cache_control")
        return {str(name): _describe_block(value) for name, value in kept}
    return [*map(_describe_block, block)] if isinstance(block, list) else block
