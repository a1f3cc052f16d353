"""Sets of proposals in the memory of this process, for later calls of a turn."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

from moa_graph.chat_model.exclusive_keys import ExclusiveKeys
from moa_graph.chat_model.recent_values import RecentValues
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.state import Proposal

MAX_KEPT = 256
"""Sets of proposals that one model keeps. An evicted turn calls its proposers again."""
MAX_AGE_S = 3600
"""Seconds after its last use until a set of proposals is deleted."""

_MAX_LINKS = 32 * MAX_KEPT  # each tool call has one or two links


@dataclass(frozen=True)
class ProposalSet:
    """The proposals of all layers for one call, including failures."""

    proposals: Mapping[str, Proposal]
    """Proposals, keyed by node."""
    id: str = field(default_factory=lambda: uuid4().hex)
    depth: Mapping[str, DepthDecision] = field(default_factory=dict)
    """Decisions about the depth of the turn, keyed by node."""


class ProposalEntry(NamedTuple):
    """A set of proposals, and its age in tool steps."""

    proposal_set: ProposalSet
    steps: int
    """Tool steps since the proposers were called."""


class _Link(NamedTuple):
    set_id: str | None
    """`None` if several sets have the same key."""
    steps: int


class LocalProposals:
    """Sets of proposals, and the keys under which calls find them; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sets = RecentValues[ProposalSet](MAX_KEPT, MAX_AGE_S)
        self._links = RecentValues[_Link](_MAX_LINKS, MAX_AGE_S)
        self.turn_locks = ExclusiveKeys()
        """Locks by conversation key, held while a call looks for proposals or calls proposers."""

    def find(self, keys: Sequence[str]) -> ProposalEntry | None:
        """Return the set of proposals of the first key that has one."""
        with self._lock:
            entries = (self._follow(self._links.get(key)) for key in keys)
            return next(filter(None, entries), None)

    def take(self, key: str) -> ProposalEntry | None:
        """Return the set of proposals of a key, and delete the key."""
        with self._lock:
            return self._follow(self._links.pop(key))

    def store(self, keys: Iterable[str], entry: ProposalEntry) -> None:
        """Store a set of proposals under keys; a key of another set is overwritten."""
        with self._lock:
            self._sets.set(entry.proposal_set.id, entry.proposal_set)
            for key in keys:
                self._links.set(key, _Link(entry.proposal_set.id, entry.steps))

    def store_by_ids(self, keys: Iterable[str], entry: ProposalEntry) -> None:
        """Store a set under keys made of tool call ids; a key that two sets share becomes invalid.

        Some servers restart the numbering of tool calls in each answer.
        """
        with self._lock:
            self._sets.set(entry.proposal_set.id, entry.proposal_set)
            for key in keys:
                set_id = (
                    None if self._is_anothers(key, entry.proposal_set) else entry.proposal_set.id
                )
                self._links.set(key, _Link(set_id, entry.steps))

    def _is_anothers(self, key: str, proposal_set: ProposalSet) -> bool:
        link = self._links.get(key)
        if link is None or link.set_id == proposal_set.id:
            return False
        return link.set_id is None or self._sets.get(link.set_id) is not None

    def _follow(self, link: _Link | None) -> ProposalEntry | None:
        proposal_set = self._sets.get(link.set_id) if link and link.set_id else None
        return ProposalEntry(proposal_set, link.steps) if link and proposal_set else None
