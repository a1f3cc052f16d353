"""The SQLite table of a call store."""

import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from moa_graph.atomic_files import restrict_to_owner

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, label TEXT, sample INTEGER, message TEXT, started REAL, seconds REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    key TEXT, label TEXT, sample INTEGER, error TEXT, started REAL, seconds REAL
);
"""


class CallOutcome(NamedTuple):
    """The outcome of a call, as it is stored."""

    message: str
    """The answer as JSON; empty for a failure."""
    error: str | None
    usage: dict[str, Any] | None
    """Tokens of a failure; those of an answer are in the message."""
    started: float
    seconds: float
    may_be_billed: bool = False
    """Whether a failure may have cost an unknown number of tokens; not stored."""
    status_code: int | None = None
    """HTTP status of a failed call; not stored."""


class CallTable:
    """The tables of a call store; not thread-safe.

    Raises:
        ValueError: If the file is not a call store, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            restrict_to_owner(path)
            self._db = _open_database(path)
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"{path}: cannot be used as a call store: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def find_answer(self, key: str) -> CallOutcome | None:
        """Return a stored answer."""
        query = "SELECT message, started, seconds FROM answers WHERE key = ?"
        row = self._db.execute(query, (key,)).fetchone()
        return CallOutcome(row[0], None, None, row[1], row[2]) if row else None

    def write_outcome(self, key: str, outcome: CallOutcome, label: str, sample: int) -> None:
        """Store an answer or a failure. If an answer is already stored, it stays.

        Raises:
            sqlite3.Error: If this fails.
        """
        table = "failures" if outcome.error else "answers"
        text = outcome.error or outcome.message
        row = (key, label, sample, text, outcome.started, outcome.seconds)
        self._db.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608


def _open_database(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # survives a kill, but not a loss of power
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError(f"version {version}, expected {_VERSION}")
        db.executescript(f"{_TABLES} PRAGMA user_version = {_VERSION};")
    except sqlite3.Error:
        db.close()
        raise
    return db
