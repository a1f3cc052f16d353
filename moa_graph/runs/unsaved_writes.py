"""Where answers go that a database did not take: a file beside it, or in the temporary folder."""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any

_PRIVATE = 0o600


def keep_unsaved_writes(
    database: Path, thread: str, writes: Sequence[tuple[str, Any]]
) -> Path | None:
    """Append what a node wrote to a file that only its owner may read.

    Args:
        database: The file that did not take it.
        thread: The thread that it belongs to.
        writes: The channels of the state, and what was written to each.

    Returns:
        The file; `None` where none can be written.
    """
    rows = [
        {"thread": thread, "time": round(time(), 3), "channel": channel, "value": value}
        for channel, value in writes
    ]
    lines = [json.dumps(row, ensure_ascii=False, default=_to_plain) for row in rows]
    name = f"{database.name}.unsaved.jsonl"
    for path in (database.with_name(name), Path(tempfile.gettempdir()) / f"{os.getuid()}-{name}"):
        with suppress(OSError):
            _append_lines(path, lines)
            return path
    return None


def _append_lines(path: Path, lines: Sequence[str]) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _PRIVATE), "a", encoding="utf-8", errors="replace") as file:
        file.writelines(f"{line}\n" for line in lines)


def _to_plain(value: Any) -> Any:
    """Give what JSON can hold of a message, or of anything else."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)
