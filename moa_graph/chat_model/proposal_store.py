"""Find the proposals of a turn: first in this process, then in a shared cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from moa_graph.chat_model.kept_proposals import FoundProposals, KeptProposals
from moa_graph.chat_model.shared_proposals import SharedProposals
from moa_graph.chat_model.turn_keys import TurnKeys
from moa_graph.sync_async import Flow


@dataclass(frozen=True)
class ProposalStore:
    """The sets of proposals of one mixture."""

    kept: KeptProposals
    shared: SharedProposals | None

    def find(self, keys: Sequence[str]) -> Flow[FoundProposals | None]:
        """Return the set of proposals of the first key that has one."""
        found = self.kept.find(keys)
        if not found and self.shared:
            found = yield from self.shared.find(keys)
        return found

    def take(self, key: str) -> Flow[FoundProposals | None]:
        """Return the set of proposals of a key, and delete the key."""
        found = self.kept.take(key)
        if not found and self.shared:
            found = yield from self.shared.take(key)
        return found

    def link_calls(
        self, keys: TurnKeys, tool_call_ids: Sequence[str], found: FoundProposals, *, is_new: bool
    ) -> Flow[None]:
        """Store a set of proposals under the ids of tool calls, for the calls with their results.

        Args:
            keys: The keys of the turn.
            tool_call_ids: Ids of the tool calls.
            found: The set of proposals.
            is_new: Whether the shared cache may lack the set.
        """
        unique = keys.of_unique_ids(tool_call_ids)
        self.kept.keep([keys.conversation], found)
        self.kept.keep_by_ids([*unique, *keys.of_ids_and_opening(tool_call_ids)], found)
        if self.shared:
            yield from self.shared.store([keys.conversation, *unique], found, is_new=is_new)

    def store(self, key: str, found: FoundProposals, *, is_new: bool) -> Flow[None]:
        """Store a set of proposals under a key for other processes."""
        if self.shared:
            yield from self.shared.store([key], found, is_new=is_new)
