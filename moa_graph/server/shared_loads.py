"""Load each stored value of a thread's history once, not once for each step.

LangGraph stores only the messages that each step added, and restores the state of a step from all
previous steps. Without shared loads, thirty turns take seconds.
"""

from collections.abc import Collection
from copy import copy
from typing import Any, TypeVar

from langgraph.checkpoint.serde.base import SerializerProtocol

from moa_graph.runs.store import Checkpointer

Value = TypeVar("Value")


class SharedLoads:
    """A serializer that returns the same object for the same bytes; callers must not change it."""

    def __init__(self, serializer: SerializerProtocol) -> None:
        self._serializer = serializer
        self._loaded: dict[tuple[str, bytes], Any] = {}

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Serialize a value."""
        return self._serializer.dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Deserialize a value, or return the value deserialized before."""
        if data not in self._loaded:
            self._loaded[data] = self._serializer.loads_typed(data)
        return self._loaded[data]


def share_loads(saver: Checkpointer) -> Checkpointer:
    """Return a copy of a checkpointer that loads each stored value once."""

    def with_allowlist(extra_allowlist: Collection[tuple[str, ...]]) -> Checkpointer:
        return share_loads(saver.with_allowlist(extra_allowlist))

    shared = copy(saver)
    shared.serde = SharedLoads(saver.serde)
    # LangGraph restricts its own serializers alone, and warns of others.
    shared.with_allowlist = with_allowlist  # type: ignore[method-assign]
    return shared
