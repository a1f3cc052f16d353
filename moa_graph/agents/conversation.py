"""Select the messages of an agent's conversation that the layers read."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import (
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    trim_messages,
)

from moa_graph.chat_model.turns import find_opening
from moa_graph.prompting.history import trim_turns
from moa_graph.prompting.tokens import count_message_tokens
from moa_graph.prompting.tool_text import truncate_tool_results

_SUMMARIZATION_EVENT = "_summarization_event"
"""State key of deepagents for a summary that is only in its requests, not in `messages`."""


def read_conversation(
    state: Mapping[str, Any],
    system_prompt: str | None,
    max_history_tokens: int | None,
    max_tool_result_tokens: int | None,
) -> list[AnyMessage]:
    """Return the messages that the layers read, with the summary of the agent and within a limit.

    Args:
        state: The state of the agent.
        system_prompt: System prompt of the proposers, if any.
        max_history_tokens: Token limit; beyond it the oldest turns and the oldest tool steps of
            the last turn are left out. `None` for no limit.
        max_tool_result_tokens: Tokens beyond which a tool result is truncated.
    """
    messages = truncate_tool_results(_apply_summary(state), max_tool_result_tokens)
    if system_prompt:
        messages = [SystemMessage(system_prompt), *messages]
    if max_history_tokens is not None:
        messages = trim_turns(messages, max_history_tokens, count_message_tokens)
        messages = _trim_steps(messages, max_history_tokens)
    return list(messages)


def find_opening_message(messages: Sequence[BaseMessage]) -> HumanMessage | None:
    """Return the user message that started the turn, if there is one."""
    if not messages:
        return None
    opening = messages[find_opening(messages)]
    return opening if isinstance(opening, HumanMessage) else None


def find_last_id(state: Mapping[str, Any]) -> str | None:
    """Return the id of the newest message of a conversation."""
    return next((each.id for each in reversed(state["messages"])), None)


def _apply_summary(state: Mapping[str, Any]) -> Sequence[AnyMessage]:
    """Replace the messages that deepagents has summarized by their summary."""
    messages: list[AnyMessage] = state["messages"]
    event = state.get(_SUMMARIZATION_EVENT)
    if not isinstance(event, Mapping):
        return messages
    summary, cutoff = event.get("summary_message"), event.get("cutoff_index")
    if not (isinstance(summary, HumanMessage) and isinstance(cutoff, int)):
        return messages
    return [summary, *messages[cutoff:]]


def _trim_steps(messages: Sequence[AnyMessage], max_tokens: int) -> Sequence[AnyMessage]:
    """Remove the oldest tool steps of the last turn."""
    if count_message_tokens(messages) <= max_tokens:
        return messages
    first_step = find_opening(messages) + 1
    newest = trim_messages(
        list(messages[first_step:]),
        max_tokens=max(0, max_tokens - count_message_tokens(messages[:first_step])),
        token_counter=lambda counted: count_message_tokens(cast("Any", counted)),
        strategy="last",
        start_on="ai",
    )
    return [*messages[:first_step], *cast("Sequence[AnyMessage]", newest)]
