"""Where the proposals of a mixture's turns are found: in this process, then in a shared cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from moa_graph.chat_model.kept_panels import FoundPanel, KeptPanels
from moa_graph.chat_model.shared_panels import SharedPanels
from moa_graph.chat_model.turn_keys import TurnKeys
from moa_graph.sync_async import Flow


@dataclass(frozen=True)
class PanelStore:
    """The panels of one mixture."""

    kept: KeptPanels
    shared: SharedPanels | None

    def find(self, keys: Sequence[str]) -> Flow[FoundPanel | None]:
        """Give the panel of the first key that has one."""
        found = self.kept.find(keys)
        if not found and self.shared:
            found = yield from self.shared.find(keys)
        return found

    def take(self, key: str) -> Flow[FoundPanel | None]:
        """Give the panel of a key, and forget the key."""
        found = self.kept.take(key)
        if not found and self.shared:
            found = yield from self.shared.take(key)
        return found

    def link_calls(
        self, keys: TurnKeys, tool_call_ids: Sequence[str], found: FoundPanel, *, is_new: bool
    ) -> Flow[None]:
        """Have calls find a panel that have results of these tool calls.

        Args:
            keys: The keys of the turn.
            tool_call_ids: Ids of the calls.
            found: The panel.
            is_new: Whether the shared cache may not have it yet.
        """
        unique = keys.of_unique_ids(tool_call_ids)
        self.kept.keep([keys.conversation], found)
        self.kept.keep_by_ids([*unique, *keys.of_ids_and_opening(tool_call_ids)], found)
        if self.shared:
            yield from self.shared.store([keys.conversation, *unique], found, is_new=is_new)

    def store(self, key: str, found: FoundPanel, *, is_new: bool) -> Flow[None]:
        """Have other processes find a panel under a key."""
        if self.shared:
            yield from self.shared.store([key], found, is_new=is_new)
