"""The data of a benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BenchmarkItem:
    """An item of a benchmark."""

    id: str | int
    """Id in the benchmark; if there is none, the index in the file, from 0."""
    turns: tuple[str, ...]
    """User messages, turn by turn."""
    category: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The row of the file."""


@dataclass(frozen=True)
class BenchmarkData:
    """The items of a benchmark, and their source."""

    name: str
    items: Sequence[BenchmarkItem]
    sha256: str
    """Hash of the file."""
    revision: str | None
    """Revision of the data set; `None` if the file is not the pinned one."""
    source: str
    """Path or URL."""
    full_size: int
    """Number of items of the whole benchmark."""
    left_out: int = 0
    """Number of items that cannot be judged and are left out."""
