"""A mapping that limits the number and the age of its entries."""

from collections import OrderedDict
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class RecentValues(Generic[T]):
    """Values by key; the least recently used and the oldest ones are deleted."""

    def __init__(self, max_count: int, max_age: float) -> None:
        self._max_count, self._max_age = max_count, max_age
        self._entries: OrderedDict[str, tuple[T, float]] = OrderedDict()

    def get(self, key: str) -> T | None:
        """Return a value and mark it as used; `None` if there is none."""
        self._forget_old()
        if key not in self._entries:
            return None
        value, _ = self._entries[key]
        self.set(key, value)
        return value

    def set(self, key: str, value: T) -> None:
        """Store a value."""
        self._entries[key] = value, monotonic()
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_count:
            self._entries.popitem(last=False)

    def pop(self, key: str) -> T | None:
        """Return a value and delete it; `None` if there is none."""
        self._forget_old()
        value, _ = self._entries.pop(key, (None, 0.0))
        return value

    def _forget_old(self) -> None:
        """Delete expired values; the least recently used ones come first."""
        oldest = monotonic() - self._max_age
        while self._entries and next(iter(self._entries.values()))[1] < oldest:
            self._entries.popitem(last=False)
