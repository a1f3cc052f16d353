"""Rewrite conversations for models with restricted roles. Pure functions."""

from collections.abc import Sequence
from typing import cast

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, merge_message_runs

from moa_graph.prompting.layout import with_added_text
from moa_graph.prompting.refusals import MessageRoles

CONVERSATION_BEGINS = "(The conversation begins.)"
"""Placeholder for the first user message if a conversation begins with an answer."""


def restrict_roles(
    messages: Sequence[AnyMessage], roles: MessageRoles | None
) -> Sequence[AnyMessage]:
    """Convert a conversation to the roles that a model accepts.

    Args:
        messages: The conversation; it is not changed.
        roles: Roles that the model accepts; `None` for any messages.

    Returns:
        System messages are merged to one leading message or, without a system role, into the
        first user message. Consecutive messages of one role are merged with a blank line between.
    """
    if roles is None:
        return messages
    system_texts = [each.text for each in messages if isinstance(each, SystemMessage)]
    system_text = "\n\n".join(filter(None, system_texts))
    turns = _alternating_turns([m for m in messages if not isinstance(m, SystemMessage)])
    if not system_text:
        return turns
    if roles == "alternating":
        return [SystemMessage(system_text), *turns]
    first, *others = turns
    return [with_added_text(first, system_text, in_front=True), *others]


def _alternating_turns(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Merge consecutive messages of one role; the first is a user message."""
    if not messages or not isinstance(messages[0], HumanMessage):
        messages = [HumanMessage(CONVERSATION_BEGINS), *messages]
    return cast("list[AnyMessage]", merge_message_runs(list(messages), chunk_separator="\n\n"))
