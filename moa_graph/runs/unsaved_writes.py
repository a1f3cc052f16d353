"""Save answers that a database did not accept to a file beside it."""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any

from moa_graph.atomic_files import open_own_file


def keep_unsaved_writes(
    database: Path, thread: str, writes: Sequence[tuple[str, Any]], earlier: Path | None = None
) -> Path | None:
    """Append the writes of a node to a file that only its owner may read.

    Args:
        database: The file that did not accept them.
        thread: The thread of the writes.
        writes: The writes, by state channel.
        earlier: The file with earlier such writes.

    Returns:
        The file; `None` if none can be written.
    """
    rows = [
        {"thread": thread, "time": round(time(), 3), "channel": channel, "value": value}
        for channel, value in writes
    ]
    text = "".join(f"{_to_line(row)}\n" for row in rows)
    name = f"{database.name}.unsaved"
    for path in (earlier, database.with_name(f"{name}.jsonl")):
        with suppress(OSError):
            if path:
                _append(open_own_file(path, os.O_WRONLY | os.O_APPEND), text)
                return path
    with suppress(OSError):
        # The name must not be predictable, or another user could create the file before.
        descriptor, made = tempfile.mkstemp(prefix=f"{name}.", suffix=".jsonl")
        _append(descriptor, text)
        return Path(made)
    return None


def _append(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _to_line(row: dict[str, Any]) -> str:
    """Encode a row as JSON; other values as Python shows them."""
    try:
        return json.dumps(row, ensure_ascii=False, default=_to_plain)
    except Exception:  # noqa: BLE001  # a host's own values; whatever they do, the answer is kept
        return json.dumps(row | {"value": _show(row["value"])}, ensure_ascii=False)


def _to_plain(value: Any) -> Any:
    """Convert a message or another value for JSON."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)


def _show(value: Any) -> str:
    """Return the representation of a value, without parts whose representation fails."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # likewise
        parts = value.items() if isinstance(value, dict) else ()
        return "\n".join([object.__repr__(value), *(_show(part) for part in parts)])
