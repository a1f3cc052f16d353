"""Proposals of turns in a LangGraph cache that processes share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from moa_graph.chat_model.local_proposals import MAX_AGE_S, ProposalEntry, ProposalSet
from moa_graph.chat_model.turns import digest
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.cache_calls import cache_step, log_cache_errors
from moa_graph.graph.state import Proposal
from moa_graph.sync_async import Flow

NAMESPACE = ("moa_graph", "proposals")

_DEPTH = "depth"  # proposals have keys that begin with `layer_`
_CACHE_NAME = "proposal cache"

_Key = tuple[tuple[str, ...], str]


class SharedProposals:
    """Sets of proposals of one mixture in a shared cache, and their keys."""

    def __init__(self, cache: CacheBackend, mixture: Any) -> None:
        """Use a part of the cache that only this mixture uses.

        Args:
            cache: The cache.
            mixture: Plain values that identify the mixture.
        """
        self._cache, self._mixture = cache, digest(mixture)

    def find(self, keys: Sequence[str]) -> Flow[ProposalEntry | None]:
        """Return the set of proposals of the first key that has one."""
        full_keys = [self._link_key(key) for key in keys]
        hits = yield from self._read(full_keys)
        link = next(filter(_is_link, map(hits.get, full_keys)), None)
        if link is None:
            return None
        set_key = self._set_key(link["panel"])
        stored = (yield from self._read([set_key])).get(set_key)
        proposals = {**stored} if isinstance(stored, dict) else None
        depth = proposals.pop(_DEPTH, {}) if proposals else {}
        if not _are_proposals(proposals):
            return None
        return ProposalEntry(ProposalSet(proposals, link["panel"], depth), link["steps"])

    def take(self, key: str) -> Flow[ProposalEntry | None]:
        """Return the set of proposals of a key, and delete the key."""
        if entry := (yield from self.find([key])):
            yield from self._write({self._link_key(key): {}})
        return entry

    def store(self, keys: Iterable[str], entry: ProposalEntry, *, is_new: bool) -> Flow[None]:
        """Store keys of a set of proposals, and the set if it is new."""
        link = {"panel": entry.proposal_set.id, "steps": entry.steps}  # a stored name
        values: dict[_Key, Any] = {self._link_key(key): link for key in keys}
        if is_new:
            depth = {_DEPTH: dict(entry.proposal_set.depth)} if entry.proposal_set.depth else {}
            values[self._set_key(entry.proposal_set.id)] = {**entry.proposal_set.proposals, **depth}
        yield from self._write(values)

    def _read(self, keys: Sequence[_Key]) -> Flow[Mapping[_Key, Any]]:
        hits: Mapping[_Key, Any] = {}
        with log_cache_errors(_CACHE_NAME):
            hits = yield cache_step(self._cache.get, self._cache.aget, keys)
        return hits

    def _write(self, values: Mapping[_Key, Any]) -> Flow[None]:
        items = {key: (value, MAX_AGE_S) for key, value in values.items()}
        with log_cache_errors(_CACHE_NAME):
            yield cache_step(self._cache.set, self._cache.aset, items)

    def _link_key(self, key: str) -> _Key:
        return NAMESPACE, digest(self._mixture, "link", key)

    def _set_key(self, set_id: str) -> _Key:
        return NAMESPACE, digest(self._mixture, "panel", set_id)


def _is_link(value: Any) -> bool:
    """Return whether a value has the form that `store` writes under a key."""
    is_whole = isinstance(value, dict) and value.keys() == {"panel", "steps"}
    return is_whole and isinstance(value["panel"], str) and isinstance(value["steps"], int)


def _are_proposals(value: Any) -> TypeGuard[dict[str, Proposal]]:
    """Return whether a value has the form that `store` writes for a set in this version."""
    proposals = value.values() if isinstance(value, dict) else [None]
    required = Proposal.__required_keys__
    return all(isinstance(each, dict) and required <= each.keys() for each in proposals)
