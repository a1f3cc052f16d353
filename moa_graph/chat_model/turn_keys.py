"""Cache keys of the proposals of a turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from moa_graph.chat_model.caller import CallerScope
from moa_graph.chat_model.turns import UserTurn, digest, is_unique_id


@dataclass(frozen=True)
class TurnKeys:
    """Cache keys of one turn of one caller."""

    turn: UserTurn
    caller: CallerScope

    @property
    def conversation(self) -> str:
        """The key of the conversation up to and with the user message."""
        return self._key_of_conversation("conversation")

    @property
    def unanswered(self) -> str:
        """The key of proposals for the user message that have no answer yet."""
        return self._key_of_conversation("unanswered")

    @property
    def in_tool_loop(self) -> Sequence[str]:
        """Keys for a call with tool results, in the order of lookup.

        Tool call ids distinguish turns with equal conversations, and identify a turn again after
        middleware has summarized it.
        """
        ids = self.turn.tool_call_ids
        return [*self.of_unique_ids(ids), self.conversation, *self.of_ids_and_opening(ids)]

    def of_unique_ids(self, tool_call_ids: Sequence[str]) -> Sequence[str]:
        """Return keys of ids that are random, and so identify a turn by themselves."""
        owner = self.caller.proposal_scope
        return [digest("id", owner, each) for each in tool_call_ids if is_unique_id(each)]

    def of_ids_and_opening(self, tool_call_ids: Sequence[str]) -> Sequence[str]:
        """Return keys that combine each id with the user message."""
        opening = self._key_of_message
        return [digest(opening, each) for each in dict.fromkeys(tool_call_ids)]

    @property
    def _key_of_message(self) -> str:
        return digest("opening", self.caller.conversation_scope, self.turn.opening)

    def _key_of_conversation(self, kind: str) -> str:
        return digest(kind, self.caller.conversation_scope, self.turn.conversation)
