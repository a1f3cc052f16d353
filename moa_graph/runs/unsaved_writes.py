"""Where answers go that a database did not take: a file beside it, or in the temporary folder."""

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
    """Append what a node wrote to a file that only its owner may read.

    Args:
        database: The file that did not take it.
        thread: The thread that it belongs to.
        writes: The channels of the state, and what was written to each.
        earlier: The file that took others before.

    Returns:
        The file; `None` where none can be written.
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
        # Another user could have made a file whose name is known beforehand.
        descriptor, made = tempfile.mkstemp(prefix=f"{name}.", suffix=".jsonl")
        _append(descriptor, text)
        return Path(made)
    return None


def _append(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _to_line(row: dict[str, Any]) -> str:
    """Write a row as JSON; what that cannot hold, as Python shows it."""
    try:
        return json.dumps(row, ensure_ascii=False, default=_to_plain)
    except Exception:  # noqa: BLE001  # a host's own values; whatever they do, the answer is kept
        return json.dumps(row | {"value": _show(row["value"])}, ensure_ascii=False)


def _to_plain(value: Any) -> Any:
    """Give what JSON can hold of a message, or of anything else."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)


def _show(value: Any) -> str:
    """Show a value; of one whose parts cannot all be shown, those that can."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # likewise
        parts = value.items() if isinstance(value, dict) else ()
        return "\n".join([object.__repr__(value), *(_show(part) for part in parts)])
