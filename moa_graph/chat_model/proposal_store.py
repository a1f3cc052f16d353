"""Find the proposals of a turn: first in this process, then in a shared cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from moa_graph.chat_model.local_proposals import LocalProposals, ProposalEntry
from moa_graph.chat_model.shared_proposals import SharedProposals
from moa_graph.chat_model.turn_keys import TurnKeys
from moa_graph.sync_async import Flow


@dataclass(frozen=True)
class ProposalStore:
    """The sets of proposals of one mixture."""

    local: LocalProposals
    shared: SharedProposals | None

    def find(self, keys: Sequence[str]) -> Flow[ProposalEntry | None]:
        """Return the set of proposals of the first key that has one."""
        entry = self.local.find(keys)
        if not entry and self.shared:
            entry = yield from self.shared.find(keys)
        return entry

    def take(self, key: str) -> Flow[ProposalEntry | None]:
        """Return the set of proposals of a key, and delete the key."""
        entry = self.local.take(key)
        if not entry and self.shared:
            entry = yield from self.shared.take(key)
        return entry

    def link_calls(
        self, keys: TurnKeys, tool_call_ids: Sequence[str], entry: ProposalEntry, *, is_new: bool
    ) -> Flow[None]:
        """Store a set of proposals under the ids of tool calls, for the calls with their results.

        Args:
            keys: The keys of the turn.
            tool_call_ids: Ids of the tool calls.
            entry: The set of proposals.
            is_new: Whether the shared cache may lack the set.
        """
        unique = keys.of_unique_ids(tool_call_ids)
        self.local.store([keys.conversation], entry)
        self.local.store_by_ids([*unique, *keys.of_ids_and_opening(tool_call_ids)], entry)
        if self.shared:
            yield from self.shared.store([keys.conversation, *unique], entry, is_new=is_new)

    def store(self, key: str, entry: ProposalEntry, *, is_new: bool) -> Flow[None]:
        """Store a set of proposals under a key for other processes."""
        if self.shared:
            yield from self.shared.store([key], entry, is_new=is_new)
