"""Conversations for models that do not take every order of roles. Pure functions of messages."""

from collections.abc import Sequence
from typing import cast

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, merge_message_runs

from moa_graph.prompting.layout import with_added_text
from moa_graph.prompting.refusals import MessageRoles

CONVERSATION_BEGINS = "(The conversation begins.)"
"""Stands for the user's first message where a conversation begins with an answer."""


def restrict_roles(
    messages: Sequence[AnyMessage], roles: MessageRoles | None
) -> Sequence[AnyMessage]:
    """Put a conversation into the roles that a model takes.

    Args:
        messages: The conversation; left as it is.
        roles: What the model takes; `None` for any messages.

    Returns:
        System messages become one in front or, without a system role, the beginning of the user's
        first message. Messages of one role in a row become one, a blank line between.
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
    """Merge messages of one role in a row; the first is the user's."""
    if not messages or not isinstance(messages[0], HumanMessage):
        messages = [HumanMessage(CONVERSATION_BEGINS), *messages]
    return cast("list[AnyMessage]", merge_message_runs(list(messages), chunk_separator="\n\n"))
