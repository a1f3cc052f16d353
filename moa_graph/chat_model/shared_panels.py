"""Panels of proposals in a cache of LangGraph, where other processes find them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from moa_graph.chat_model.kept_panels import MAX_AGE_S, FoundPanel, Panel
from moa_graph.chat_model.turns import digest
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.cache_calls import cache_step, log_cache_errors
from moa_graph.graph.state import Proposal
from moa_graph.sync_async import Flow

NAMESPACE = ("moa_graph", "proposals")

_CACHE_NAME = "proposal cache"

_Key = tuple[tuple[str, ...], str]


class SharedPanels:
    """Panels of one mixture, and the keys under which calls find them."""

    def __init__(self, cache: CacheBackend, mixture: Any) -> None:
        """Keep them apart from those of other mixtures.

        Args:
            cache: The cache.
            mixture: What tells the mixture from others: plain values.
        """
        self._cache, self._mixture = cache, digest(mixture)

    def find(self, keys: Sequence[str]) -> Flow[FoundPanel | None]:
        """Give the panel of the first key that has one."""
        full_keys = [self._link_key(key) for key in keys]
        hits = yield from self._read(full_keys)
        link = next(filter(_is_link, map(hits.get, full_keys)), None)
        if link is None:
            return None
        panel_key = self._panel_key(link["panel"])
        proposals = (yield from self._read([panel_key])).get(panel_key)
        if not _are_proposals(proposals):
            return None
        return FoundPanel(Panel(proposals, link["panel"]), link["steps"])

    def take(self, key: str) -> Flow[FoundPanel | None]:
        """Give the panel of a key, and forget the key."""
        if found := (yield from self.find([key])):
            yield from self._write({self._link_key(key): {}})
        return found

    def store(self, keys: Iterable[str], found: FoundPanel, *, is_new: bool) -> Flow[None]:
        """Store keys of a panel, and the panel if it is new."""
        link = {"panel": found.panel.id, "steps": found.steps}
        values: dict[_Key, Any] = {self._link_key(key): link for key in keys}
        if is_new:
            values[self._panel_key(found.panel.id)] = dict(found.panel.proposals)
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

    def _panel_key(self, panel_id: str) -> _Key:
        return NAMESPACE, digest(self._mixture, "panel", panel_id)


def _is_link(value: Any) -> bool:
    """Tell whether a value is what `store` writes under a key of a panel."""
    is_whole = isinstance(value, dict) and value.keys() == {"panel", "steps"}
    return is_whole and isinstance(value["panel"], str) and isinstance(value["steps"], int)


def _are_proposals(value: Any) -> TypeGuard[dict[str, Proposal]]:
    """Tell whether a value is what `store` writes for a panel, in this version of the package."""
    proposals = value.values() if isinstance(value, dict) else [None]
    required = Proposal.__required_keys__
    return all(isinstance(each, dict) and required <= each.keys() for each in proposals)
