"""Titles of threads; the default is the first question."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver

TABLE = "moa_thread_titles"
"""Additional table beside LangGraph's; created with the first title."""
CREATE_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (thread_id TEXT PRIMARY KEY, title TEXT NOT NULL)"
)
READ_TITLES = f"SELECT thread_id, title FROM {TABLE}"  # noqa: S608  # a name of ours
DELETE_TITLES = (
    f"DELETE FROM {TABLE} WHERE NOT EXISTS "  # noqa: S608  # likewise
    f"(SELECT 1 FROM checkpoints WHERE checkpoints.thread_id = {TABLE}.thread_id)"
)
"""Deletes titles of deleted threads."""
_HAS_TABLE = f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{TABLE}'"  # noqa: S608  # likewise

_titles_in_memory: WeakKeyDictionary[BaseCheckpointSaver[Any], dict[str, str]] = WeakKeyDictionary()
"""Titles for other checkpointers, in memory."""


async def read_titles(saver: BaseCheckpointSaver[Any]) -> Mapping[str, str]:
    """Return the titles, by thread."""
    if read_all := getattr(saver, "read_titles", None):
        titles: Mapping[str, str] = await read_all()
        return titles
    return _titles_in_memory.get(saver, {})


async def write_title(saver: BaseCheckpointSaver[Any], thread: str, title: str | None) -> None:
    """Set the title of a stored thread, or remove it with `None`."""
    if write := getattr(saver, "write_title", None):
        await write(thread, title)
        return
    forget_title(saver, thread)
    if title is not None:
        _titles_in_memory.setdefault(saver, {})[thread] = title


def forget_title(saver: BaseCheckpointSaver[Any], thread: str) -> None:
    """Remove the title of a deleted thread, for other checkpointers than those of this package."""
    _titles_in_memory.get(saver, {}).pop(thread, None)


async def read_sqlite_titles(connection: aiosqlite.Connection) -> dict[str, str]:
    """Read the titles from an SQLite file."""
    if not await _has_table(connection):
        return {}
    async with connection.execute(READ_TITLES) as rows:
        return {str(thread): str(title) for thread, title in await rows.fetchall()}


async def write_sqlite_title(
    connection: aiosqlite.Connection, thread: str, title: str | None
) -> None:
    """Write the title of a thread to an SQLite file."""
    if title is not None:
        await connection.execute(CREATE_TABLE)
    elif not await _has_table(connection):
        return
    await connection.execute(f"DELETE FROM {TABLE} WHERE thread_id = ?", (thread,))  # noqa: S608  # a name of ours
    if title is not None:
        await connection.execute(f"INSERT INTO {TABLE} VALUES (?, ?)", (thread, title))  # noqa: S608  # likewise
    await connection.commit()


async def delete_sqlite_titles(connection: aiosqlite.Connection) -> None:
    """Delete the titles of deleted threads."""
    if await _has_table(connection):
        await connection.execute(DELETE_TITLES)
        await connection.commit()


async def _has_table(connection: aiosqlite.Connection) -> bool:
    async with connection.execute(_HAS_TABLE) as rows:
        return await rows.fetchone() is not None
