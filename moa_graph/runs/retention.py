"""Find and delete old threads, and return their space."""

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from moa_graph.runs.damage import DamagedThreadError
from moa_graph.runs.store import Checkpointer, RunStore, StoreError
from moa_graph.runs.stored_configs import CONFIG_KEY
from moa_graph.runs.stored_threads import time_of_checkpoint
from moa_graph.runs.titles import forget_title

MAX_VACUUM_BYTES = 200_000_000
"""Maximum bytes of a file that `VACUUM` rewrites, which blocks other writers."""
PAGES_PER_STEP = 500  # pages of 4 kB per step, which blocks other writers
PAUSE_S = 0.02  # seconds between steps, for other writers


@dataclass(frozen=True)
class DatabaseQueries:
    """Queries for one kind of database."""

    list_threads: str
    """Threads of the command line (with `CONFIG_KEY`), newest first, each with its last
    checkpoint; `{number}` is the expression that orders checkpoints."""
    database_size: str
    vacuum: Sequence[str]


SQLITE_QUERIES = DatabaseQueries(
    # SQLite takes `checkpoint_id` from the row of a thread with the largest `rowid`.
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
    """A thread to delete."""

    id: str
    last_checkpoint_id: str
    """The last checkpoint id."""

    @property
    def last_written_at(self) -> datetime:
        """Time of that checkpoint."""
        return time_of_checkpoint(self.last_checkpoint_id)


@dataclass
class PruneResult:
    """Result of deleting threads."""

    deleted: list[str] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    """Threads that another process holds or has continued, which were not deleted."""
    freed: int = 0
    """Number of freed bytes."""


async def find_expired_threads(
    saver: Checkpointer, *, before: datetime | None = None, keep: int | None = None
) -> list[ExpiredThread]:
    """Return the threads to delete, newest first. Threads of other programs are never included.

    Args:
        saver: The checkpointer.
        before: Only threads that were last written before this time.
        keep: Number of newest threads to keep.
    """
    query = _queries_for(saver).list_threads
    rows = await _fetch_rows(saver, query.replace("{number}", getattr(saver, "number", "")))
    candidates = [ExpiredThread(*row[:2]) for row in rows[keep or 0 :]]
    return [old for old in candidates if before is None or old.last_written_at < before]


async def delete_threads(store: RunStore, threads: Iterable[ExpiredThread]) -> PruneResult:
    """Delete threads, except for those in use, and shrink the database."""
    result, queries = PruneResult(), _queries_for(store.checkpointer)
    before = await _measure_database(store.checkpointer)
    for thread in threads:
        deleted = await _delete_thread(store, thread)
        (result.deleted if deleted else result.in_use).append(thread.id)
    if result.deleted:
        await _shrink_database(store.checkpointer, queries)
        result.freed = max(0, before - await _measure_database(store.checkpointer))
    return result


async def delete_thread(store: RunStore, thread_id: str) -> None:
    """Delete a thread and its data, in parallel with other work on the database.

    Raises:
        StoreError: If another process holds it.
    """
    saver = store.checkpointer
    async with store.lock_thread(thread_id):
        if isinstance(saver, AsyncSqliteSaver):
            await _fetch_rows(saver, "PRAGMA secure_delete = ON")  # overwrite the data
        await saver.adelete_thread(thread_id)
        forget_title(saver, thread_id)
    if isinstance(saver, AsyncSqliteSaver):
        with suppress(sqlite3.OperationalError):
            await _cut_free_pages(saver)
            await _empty_log(saver)


async def is_known_foreign(saver: Checkpointer, thread_id: str) -> bool:
    """Return whether a thread is known to belong to another program, by its metadata."""
    mark = "?" if isinstance(saver, AsyncSqliteSaver) else "%s"
    query = f"SELECT metadata FROM checkpoints WHERE thread_id = {mark}"  # noqa: S608
    notes = [_read_notes(row[0]) for row in await _fetch_rows(saver, query, thread_id)]
    readable = [each for each in notes if each is not None]
    return bool(readable) and not any(CONFIG_KEY in each for each in readable)


def _read_notes(metadata: Any) -> Mapping[str, Any] | None:
    """Return the metadata of a checkpoint; `None` if it is damaged."""
    if isinstance(metadata, (str, bytes)):
        try:
            metadata = json.loads(metadata)
        except ValueError:
            return None
    return metadata if isinstance(metadata, dict) else None


async def _delete_thread(store: RunStore, thread: ExpiredThread) -> bool:
    try:
        async with store.lock_thread(thread.id):
            if await _newest_checkpoint_id(store, thread) != thread.last_checkpoint_id:
                return False
            await store.checkpointer.adelete_thread(thread.id)
    except StoreError:  # held by another process
        return False
    return True


async def _newest_checkpoint_id(store: RunStore, thread: ExpiredThread) -> str | None:
    """Return the newest checkpoint of a thread; of a damaged one, the newest that was seen."""
    try:
        newest = await store.checkpointer.aget_tuple({"configurable": {"thread_id": thread.id}})
    except DamagedThreadError:
        return thread.last_checkpoint_id
    return newest.config["configurable"]["checkpoint_id"] if newest else None


async def _shrink_database(saver: Checkpointer, queries: DatabaseQueries) -> None:
    """Shrink the database, unless other processes are reading it; free space is reused then."""
    if isinstance(saver, AsyncSqliteSaver):
        with suppress(sqlite3.OperationalError):
            await _shrink_sqlite(saver)
    for statement in queries.vacuum:
        await _fetch_rows(saver, statement)


async def _shrink_sqlite(saver: AsyncSqliteSaver) -> None:
    """Free pages in small steps, between which other processes can write.

    A file of an older version is rewritten once to allow this, unless it is large.
    """
    if not await _read_pragma(saver, "auto_vacuum"):
        if await _measure_database(saver) > MAX_VACUUM_BYTES:
            return
        await _fetch_rows(saver, "PRAGMA auto_vacuum = INCREMENTAL")
        await _fetch_rows(saver, "VACUUM")
    await _cut_free_pages(saver)


async def _cut_free_pages(saver: AsyncSqliteSaver) -> None:
    """Free unused pages, if the file supports it."""
    free = await _read_pragma(saver, "freelist_count")
    # A step that only becomes a writer on its way fails if somebody else has written since.
    step = f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({PAGES_PER_STEP}); COMMIT"
    for _ in range(0, free, PAGES_PER_STEP):
        await saver.conn.executescript(step)
        await asyncio.sleep(PAUSE_S)
    await _fetch_rows(saver, "PRAGMA wal_checkpoint(PASSIVE)")


async def _empty_log(saver: AsyncSqliteSaver) -> None:
    """Write the log to the file and truncate it, unless other processes are reading it."""
    async with saver.lock:
        timeout = await _read_pragma(saver, "busy_timeout")
        await _fetch_rows(saver, "PRAGMA busy_timeout = 0")  # else runs of this process would wait
        await _fetch_rows(saver, "PRAGMA wal_checkpoint(TRUNCATE)")
        await _fetch_rows(saver, f"PRAGMA busy_timeout = {timeout}")


async def _read_pragma(saver: AsyncSqliteSaver, name: str) -> int:
    return int((await _fetch_rows(saver, f"PRAGMA {name}"))[0][0])


async def _measure_database(saver: Checkpointer) -> int:
    return int((await _fetch_rows(saver, _queries_for(saver).database_size))[0][0])


async def _fetch_rows(saver: Any, query: str, *values: str) -> list[Sequence[Any]]:
    cursor = await saver.conn.execute(query, values) if values else await saver.conn.execute(query)
    rows = await cursor.fetchall() if cursor.description else []
    return [list(row.values()) if isinstance(row, dict) else row for row in rows]


def _queries_for(saver: Checkpointer) -> DatabaseQueries:
    return SQLITE_QUERIES if isinstance(saver, AsyncSqliteSaver) else POSTGRES_QUERIES
