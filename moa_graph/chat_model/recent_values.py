"""A mapping that is bounded in number and in age."""

from collections import OrderedDict
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class RecentValues(Generic[T]):
    """Values by key; it forgets what has not been used for long, and the oldest of too many."""

    def __init__(self, max_count: int, max_age: float) -> None:
        self._max_count, self._max_age = max_count, max_age
        self._entries: OrderedDict[str, tuple[T, float]] = OrderedDict()

    def get(self, key: str) -> T | None:
        """Give a value, which counts as a use of it; `None` if there is none."""
        self._forget_old()
        if key not in self._entries:
            return None
        value, _ = self._entries[key]
        self.set(key, value)
        return value

    def set(self, key: str, value: T) -> None:
        """Take in a value."""
        self._entries[key] = value, monotonic()
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_count:
            self._entries.popitem(last=False)

    def pop(self, key: str) -> T | None:
        """Give a value and forget it; `None` if there is none."""
        self._forget_old()
        value, _ = self._entries.pop(key, (None, 0.0))
        return value

    def _forget_old(self) -> None:
        """Forget what is too old; the least recently used stand in front."""
        oldest = monotonic() - self._max_age
        while self._entries and next(iter(self._entries.values()))[1] < oldest:
            self._entries.popitem(last=False)
