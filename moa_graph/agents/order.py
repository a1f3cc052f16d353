"""Warnings about middleware that is listed in the wrong order relative to `MoAMiddleware`."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AnyMessage

from moa_graph.agents.agent_turn import AgentTurn
from moa_graph.chat_model.turns import read_user_turn

_log = logging.getLogger(__name__)


class OrderCheck:
    """Warns once about each mistake in the order of an agent's middleware."""

    def __init__(self, name: str) -> None:
        self._name, self._warned = name, set[str]()

    def note(
        self, state: Mapping[str, Any], opening_id: str | None, read: Sequence[AnyMessage]
    ) -> AgentTurn:
        """Return the digests and ids of the messages that the layers read, to be stored."""
        conversation = state["messages"]
        ids = {each.id for each in conversation}
        return {
            "opening_digest": _digest_message(conversation, opening_id),
            "first_read_id": next((each.id for each in read if each.id in ids), None),
        }

    def check(self, turn: AgentTurn, state: Mapping[str, Any]) -> None:
        """Compare the messages that the layers read with those that the model will read."""
        messages = state["messages"]
        digest = turn.get("opening_digest")
        if digest and _digest_message(messages, turn.get("opening_id")) not in {"", digest}:
            self._warn(
                "the user's message was changed after the layers had read it; list the "
                "middleware that redacts or edits it, such as PIIMiddleware, before"
            )
        if (first := turn.get("first_read_id")) and all(each.id != first for each in messages):
            self._warn(
                "messages were summarized or removed after the layers had read them; list the "
                "middleware that does so, such as SummarizationMiddleware, before"
            )

    def _warn(self, finding: str) -> None:
        if finding not in self._warned:
            self._warned.add(finding)
            _log.warning("%s: %s MoAMiddleware(name=%r)", self._name, finding, self._name)


def _digest_message(messages: Sequence[AnyMessage], message_id: str | None) -> str:
    """Return a digest of a message's content; an empty string if there is no message."""
    message = next((each for each in messages if message_id and each.id == message_id), None)
    return read_user_turn([message]).opening if message else ""
