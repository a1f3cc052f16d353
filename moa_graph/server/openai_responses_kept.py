"""Items of recent answers, stored for references by id.

OpenAI stores responses, so some clients send only the id of an earlier item (the AI SDK does,
unless `store: false` is set). The items are in the memory of this process, limited in number, size
and age, and belong to the key of the request.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from moa_graph.chat_model.recent_values import RecentValues
from moa_graph.chat_model.turns import digest
from moa_graph.server.errors import ApiError
from moa_graph.server.json_types import JsonObject

MAX_ITEMS = 2000
MAX_ITEM_CHARS = 32_000
MAX_AGE_S = 3600

_MAX_ID_CHARS = 100  # characters of an id in an error
_KEPT_FIELDS = ("type", "role", "content", "call_id", "name", "namespace", "arguments", "input")


class KeptItems:
    """Items by owner and id."""

    def __init__(self) -> None:
        self._items = RecentValues[JsonObject](MAX_ITEMS, MAX_AGE_S)

    def keep(self, owner: str, items: Iterable[JsonObject]) -> None:
        """Store items, except too long items."""
        for item in items:
            kept = {name: item[name] for name in _KEPT_FIELDS if name in item}
            if _count_chars(kept) <= MAX_ITEM_CHARS:
                self._items.set(digest(owner, item["id"]), kept)

    def resolve_references(self, owner: str, data: Any, max_items: int) -> Any:
        """Copy the body of a request, and replace references by their items.

        Args:
            owner: Owner of the items.
            data: The body.
            max_items: Maximum number of input items; a longer input is not changed.

        Raises:
            ApiError: If an item is not stored.
        """
        items = data.get("input") if isinstance(data, dict) else None
        if not isinstance(items, list) or len(items) > max_items:
            return data
        resolved = [
            self._find(owner, item["id"], index) if _is_reference(item) else item
            for index, item in enumerate(items)
        ]
        return {**data, "input": resolved}

    def _find(self, owner: str, item_id: str, index: int) -> JsonObject:
        if (item := self._items.get(digest(owner, item_id))) is not None:
            return item
        location = f"input[{index}].id"
        message = (
            f"{location}: no item {item_id[:_MAX_ID_CHARS]!r}: this server keeps those of recent "
            "answers alone; expected the item itself (some clients send it with `store: false`)"
        )
        raise ApiError(400, message, param=location, code="not_stored")


def _is_reference(item: Any) -> bool:
    if not isinstance(item, Mapping) or not isinstance(item.get("id"), str):
        return False
    return item.get("type") == "item_reference" or ("type" not in item and "role" not in item)


def _count_chars(item: JsonObject) -> int:
    if item["type"] == "message":
        return sum(len(part["text"]) for part in item["content"])
    return len(item.get("arguments") or item.get("input") or "")
