"""The keys under which the proposals of a turn are kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from moa_graph.chat_model.caller import CallerScope
from moa_graph.chat_model.turns import UserTurn, digest, is_unique_id


@dataclass(frozen=True)
class TurnKeys:
    """Keys of one turn of one caller."""

    turn: UserTurn
    caller: CallerScope

    @property
    def conversation(self) -> str:
        """The key of the conversation up to the user's message."""
        return self._key_of_conversation("conversation")

    @property
    def unanswered(self) -> str:
        """The key of proposals to the user's message of which no answer was written."""
        return self._key_of_conversation("unanswered")

    @property
    def in_tool_loop(self) -> Sequence[str]:
        """The keys under which a call with results of tools looks, in this order.

        Ids tell turns apart whose conversations are the same, and know one again that
        middleware has summarized.
        """
        ids = self.turn.tool_call_ids
        return [*self.of_unique_ids(ids), self.conversation, *self.of_ids_and_opening(ids)]

    def of_unique_ids(self, tool_call_ids: Sequence[str]) -> Sequence[str]:
        """Give the keys of ids that are random, and count by themselves."""
        owner = self.caller.proposal_scope
        return [digest("id", owner, each) for each in tool_call_ids if is_unique_id(each)]

    def of_ids_and_opening(self, tool_call_ids: Sequence[str]) -> Sequence[str]:
        """Give the keys of ids that count only together with the user's message."""
        opening = self._key_of_message
        return [digest(opening, each) for each in dict.fromkeys(tool_call_ids)]

    @property
    def _key_of_message(self) -> str:
        return digest("opening", self.caller.conversation_scope, self.turn.opening)

    def _key_of_conversation(self, kind: str) -> str:
        return digest(kind, self.caller.conversation_scope, self.turn.conversation)
