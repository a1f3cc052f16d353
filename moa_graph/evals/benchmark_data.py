"""What a benchmark asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BenchmarkItem:
    """One thing that is asked."""

    id: str | int
    """The benchmark's own number; where it has none, the place in the file, from 0."""
    turns: tuple[str, ...]
    """What the user says, turn by turn."""
    category: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """All that the file says of it."""


@dataclass(frozen=True)
class BenchmarkData:
    """Items, and where they are from."""

    name: str
    items: Sequence[BenchmarkItem]
    sha256: str
    """Of the file."""
    revision: str | None
    """Of the data set, where the file is the pinned one; else `None`."""
    source: str
    """The path or the address."""
    full_size: int
    """How many items the benchmark has in all."""
