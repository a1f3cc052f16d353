"""Old threads of the command line: which there are, their end, and the room that they took."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from moa_graph.runs.store import Saver, Store, StoreError

EPOCH = datetime(1582, 10, 15, tzinfo=UTC)  # from where a UUID counts


@dataclass(frozen=True)
class Dialect:
    """What is asked of a database."""

    threads: str
    """Threads that the command line wrote, by the `CONFIG_KEY` of `store`, newest first, each with
    its last checkpoint."""
    size: str
    vacuum: Sequence[str]


SQLITE = Dialect(
    threads="SELECT thread_id, max(checkpoint_id) FROM checkpoints WHERE checkpoint_ns = '' "
    "GROUP BY thread_id "
    "HAVING max(json_extract(CAST(metadata AS TEXT), '$.moa_config') IS NOT NULL) ORDER BY 2 DESC",
    size="SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    vacuum=("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"),
)
POSTGRES = Dialect(
    threads="SELECT thread_id, max(checkpoint_id) FROM checkpoints WHERE checkpoint_ns = '' "
    "GROUP BY thread_id HAVING bool_or(jsonb_exists(metadata, 'moa_config')) ORDER BY 2 DESC",
    size="SELECT pg_total_relation_size('checkpoints') + pg_total_relation_size('checkpoint_blobs')"
    " + pg_total_relation_size('checkpoint_writes')",
    vacuum=("VACUUM checkpoints, checkpoint_blobs, checkpoint_writes",),
)


@dataclass(frozen=True)
class Old:
    """A thread that is to be deleted."""

    id: str
    checkpoint: str
    """The last that was seen."""

    @property
    def when(self) -> datetime:
        """When that was written: its name is a UUID that begins with the time."""
        digits = self.checkpoint.replace("-", "")
        return EPOCH + timedelta(microseconds=int(digits[:12] + digits[13:16], 16) // 10)


@dataclass
class Pruned:
    """What became of the threads that were to be deleted."""

    deleted: list[str] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    """Held by another process, or gone on with in the meantime."""
    freed: int = 0
    """Bytes by which the database became smaller."""


async def find_old(
    saver: Saver, *, before: datetime | None = None, keep: int | None = None
) -> list[Old]:
    """Find the threads that may go, newest first. Those that other programs wrote never may.

    Args:
        saver: Where they are kept.
        before: Only threads that were last written before that may go.
        keep: So many of the newest may not.
    """
    rows = await _fetch(saver, _dialect(saver).threads)
    found = [Old(*row) for row in rows[keep or 0 :]]
    return [old for old in found if before is None or old.when < before]


async def delete(store: Store, threads: Iterable[Old]) -> Pruned:
    """Delete threads, except for those that are in use, and give back the room that they took."""
    done, dialect = Pruned(), _dialect(store.saver)
    before = await _size(store.saver)
    for thread in threads:
        gone = await _delete(store, thread)
        (done.deleted if gone else done.in_use).append(thread.id)
    if done.deleted:
        await _give_back(store.saver, dialect)
        done.freed = max(0, before - await _size(store.saver))
    return done


async def _delete(store: Store, thread: Old) -> bool:
    try:
        async with store.lock(thread.id):
            last = await store.saver.aget_tuple({"configurable": {"thread_id": thread.id}})
            if not last or last.config["configurable"]["checkpoint_id"] != thread.checkpoint:
                return False
            await store.saver.adelete_thread(thread.id)
    except StoreError:  # another process holds it
        return False
    return True


async def _give_back(saver: Saver, dialect: Dialect) -> None:
    """Have the database shrink, unless others are reading it: then the room is used again."""
    for statement in dialect.vacuum:
        try:
            await _fetch(saver, statement)
        except sqlite3.OperationalError:
            return


async def _size(saver: Saver) -> int:
    return int((await _fetch(saver, _dialect(saver).size))[0][0])


async def _fetch(saver: Any, query: str) -> list[Sequence[Any]]:
    cursor = await saver.conn.execute(query)
    rows = await cursor.fetchall() if cursor.description else []
    return [list(row.values()) if isinstance(row, dict) else row for row in rows]


def _dialect(saver: Saver) -> Dialect:
    return SQLITE if isinstance(saver, AsyncSqliteSaver) else POSTGRES
