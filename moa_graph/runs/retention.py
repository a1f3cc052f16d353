"""Old threads of the command line: which there are, their end, and the room that they took."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from moa_graph.runs.damage import DamagedThreadError
from moa_graph.runs.store import Checkpointer, RunStore, StoreError, time_of_checkpoint

MAX_VACUUM_BYTES = 200_000_000
"""Bytes of a file that is written anew in one go, while nobody else can write to it."""
PAGES_PER_STEP = 500  # of 4 kB, which others wait for
PAUSE_S = 0.02  # seconds in which others can write


@dataclass(frozen=True)
class DatabaseQueries:
    """What is asked of a database."""

    list_threads: str
    """Threads that the command line wrote, by the `CONFIG_KEY` of `store`, newest first, each with
    its last checkpoint; `{number}` stands for what the order goes by."""
    database_size: str
    vacuum: Sequence[str]


SQLITE_QUERIES = DatabaseQueries(
    # Of the rows of a thread, SQLite takes `checkpoint_id` from the one with the largest `rowid`.
    list_threads="SELECT thread_id, checkpoint_id, max(rowid) FROM checkpoints "
    "WHERE checkpoint_ns = '' GROUP BY thread_id "
    "HAVING total(CASE WHEN json_valid(CAST(metadata AS TEXT)) "
    "THEN json_extract(CAST(metadata AS TEXT), '$.moa_config') IS NOT NULL END) > 0 "
    "ORDER BY 3 DESC",
    database_size="SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    vacuum=(),  # see `_shrink_sqlite`
)
POSTGRES_QUERIES = DatabaseQueries(
    list_threads="SELECT thread_id, "
    "(array_agg(checkpoint_id ORDER BY {number} DESC, checkpoint_id DESC))[1], max({number}) "
    "FROM checkpoints WHERE checkpoint_ns = '' GROUP BY thread_id "
    "HAVING bool_or(jsonb_exists(metadata, 'moa_config')) ORDER BY 3 DESC, 2 DESC",
    database_size="SELECT pg_total_relation_size('checkpoints') "
    "+ pg_total_relation_size('checkpoint_blobs')"
    " + pg_total_relation_size('checkpoint_writes')",
    vacuum=(
        "SET statement_timeout = 0",
        "VACUUM checkpoints, checkpoint_blobs, checkpoint_writes",
    ),
)


@dataclass(frozen=True)
class ExpiredThread:
    """A thread that is to be deleted."""

    id: str
    last_checkpoint_id: str
    """The last that was seen."""

    @property
    def last_written_at(self) -> datetime:
        """When that was written."""
        return time_of_checkpoint(self.last_checkpoint_id)


@dataclass
class PruneResult:
    """What became of the threads that were to be deleted."""

    deleted: list[str] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    """Held by another process, or gone on with in the meantime."""
    freed: int = 0
    """Bytes by which the database became smaller."""


async def find_expired_threads(
    saver: Checkpointer, *, before: datetime | None = None, keep: int | None = None
) -> list[ExpiredThread]:
    """Find the threads that may go, newest first. Those that other programs wrote never may.

    Args:
        saver: Where they are kept.
        before: Only threads that were last written before that may go.
        keep: So many of the newest may not.
    """
    query = _queries_for(saver).list_threads
    rows = await _fetch_rows(saver, query.replace("{number}", getattr(saver, "number", "")))
    candidates = [ExpiredThread(*row[:2]) for row in rows[keep or 0 :]]
    return [old for old in candidates if before is None or old.last_written_at < before]


async def delete_threads(store: RunStore, threads: Iterable[ExpiredThread]) -> PruneResult:
    """Delete threads, except for those that are in use, and give back the room that they took."""
    result, queries = PruneResult(), _queries_for(store.checkpointer)
    before = await _measure_database(store.checkpointer)
    for thread in threads:
        deleted = await _delete_thread(store, thread)
        (result.deleted if deleted else result.in_use).append(thread.id)
    if result.deleted:
        await _shrink_database(store.checkpointer, queries)
        result.freed = max(0, before - await _measure_database(store.checkpointer))
    return result


async def _delete_thread(store: RunStore, thread: ExpiredThread) -> bool:
    try:
        async with store.lock_thread(thread.id):
            if await _newest_checkpoint_id(store, thread) != thread.last_checkpoint_id:
                return False
            await store.checkpointer.adelete_thread(thread.id)
    except StoreError:  # another process holds it
        return False
    return True


async def _newest_checkpoint_id(store: RunStore, thread: ExpiredThread) -> str | None:
    """Give the newest checkpoint of a thread; of a damaged one, the newest that was seen."""
    try:
        newest = await store.checkpointer.aget_tuple({"configurable": {"thread_id": thread.id}})
    except DamagedThreadError:
        return thread.last_checkpoint_id
    return newest.config["configurable"]["checkpoint_id"] if newest else None


async def _shrink_database(saver: Checkpointer, queries: DatabaseQueries) -> None:
    """Have the database shrink, unless others are reading it: then the room is used again."""
    if isinstance(saver, AsyncSqliteSaver):
        with suppress(sqlite3.OperationalError):
            await _shrink_sqlite(saver)
    for statement in queries.vacuum:
        await _fetch_rows(saver, statement)


async def _shrink_sqlite(saver: AsyncSqliteSaver) -> None:
    """Cut free pages off in small steps, between which others can write.

    A file of an older version is written anew once so that this can be; a large one stays as it is.
    """
    if not await _read_pragma(saver, "auto_vacuum"):
        if await _measure_database(saver) > MAX_VACUUM_BYTES:
            return
        await _fetch_rows(saver, "PRAGMA auto_vacuum = INCREMENTAL")
        await _fetch_rows(saver, "VACUUM")
    free = await _read_pragma(saver, "freelist_count")
    for _ in range(0, free, PAGES_PER_STEP):
        await saver.conn.executescript(f"PRAGMA incremental_vacuum({PAGES_PER_STEP})")
        await asyncio.sleep(PAUSE_S)
    await _fetch_rows(saver, "PRAGMA wal_checkpoint(PASSIVE)")


async def _read_pragma(saver: AsyncSqliteSaver, name: str) -> int:
    return int((await _fetch_rows(saver, f"PRAGMA {name}"))[0][0])


async def _measure_database(saver: Checkpointer) -> int:
    return int((await _fetch_rows(saver, _queries_for(saver).database_size))[0][0])


async def _fetch_rows(saver: Any, query: str) -> list[Sequence[Any]]:
    cursor = await saver.conn.execute(query)
    rows = await cursor.fetchall() if cursor.description else []
    return [list(row.values()) if isinstance(row, dict) else row for row in rows]


def _queries_for(saver: Checkpointer) -> DatabaseQueries:
    return SQLITE_QUERIES if isinstance(saver, AsyncSqliteSaver) else POSTGRES_QUERIES
