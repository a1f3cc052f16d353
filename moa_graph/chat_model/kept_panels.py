"""The panels of proposals that this process keeps for the calls that follow in a turn."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

from moa_graph.chat_model.exclusive_keys import ExclusiveKeys
from moa_graph.chat_model.recent_values import RecentValues
from moa_graph.graph.state import Proposal

MAX_PANELS = 256
"""Panels that one model keeps; a turn that has to wait behind so many others asks anew."""
MAX_AGE_S = 3600
"""Seconds after its last use for which a panel is kept."""

_MAX_LINKS = 32 * MAX_PANELS  # each call of a tool is one or two


@dataclass(frozen=True)
class Panel:
    """What the proposers of all layers wrote for one call, failures among it."""

    proposals: Mapping[str, Proposal]
    """By node."""
    id: str = field(default_factory=lambda: uuid4().hex)


class FoundPanel(NamedTuple):
    """A panel, and how long ago it was asked."""

    panel: Panel
    steps: int
    """Steps of tools since it was asked."""


class _Link(NamedTuple):
    panel_id: str | None
    """`None` where several panels have the key."""
    steps: int


class KeptPanels:
    """Panels, and the keys under which calls find them; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._panels = RecentValues[Panel](MAX_PANELS, MAX_AGE_S)
        self._links = RecentValues[_Link](_MAX_LINKS, MAX_AGE_S)
        self.asking = ExclusiveKeys()
        """Held, by the key of the conversation, where a call looks for a panel or has it asked."""

    def find(self, keys: Sequence[str]) -> FoundPanel | None:
        """Give the panel of the first key that has one."""
        with self._lock:
            found = (self._follow(self._links.get(key)) for key in keys)
            return next(filter(None, found), None)

    def take(self, key: str) -> FoundPanel | None:
        """Give the panel of a key, and forget the key."""
        with self._lock:
            return self._follow(self._links.pop(key))

    def keep(self, keys: Iterable[str], found: FoundPanel) -> None:
        """Keep a panel under keys, each of which is now its own."""
        with self._lock:
            self._panels.set(found.panel.id, found.panel)
            for key in keys:
                self._links.set(key, _Link(found.panel.id, found.steps))

    def keep_by_ids(self, keys: Iterable[str], found: FoundPanel) -> None:
        """Keep a panel under keys that are made of ids: one that another panel has counts no more.

        Some servers number the calls of tools in each answer anew.
        """
        with self._lock:
            self._panels.set(found.panel.id, found.panel)
            for key in keys:
                panel_id = None if self._is_anothers(key, found.panel) else found.panel.id
                self._links.set(key, _Link(panel_id, found.steps))

    def _is_anothers(self, key: str, panel: Panel) -> bool:
        link = self._links.get(key)
        if link is None or link.panel_id == panel.id:
            return False
        return link.panel_id is None or self._panels.get(link.panel_id) is not None

    def _follow(self, link: _Link | None) -> FoundPanel | None:
        panel = self._panels.get(link.panel_id) if link and link.panel_id else None
        return FoundPanel(panel, link.steps) if link and panel else None
