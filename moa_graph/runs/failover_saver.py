"""A SQLite checkpointer that waits for a busy file, and that can continue in memory.

A file is busy while another process writes. The data of a run has been paid for, so the
checkpointer waits, reports it, and tries again. If all attempts fail, the answers are in memory, or
in a file that the error names.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from moa_graph.errors import MoAError
from moa_graph.runs.insertion_order import InsertionOrderSqliteSaver
from moa_graph.runs.titles import (
    delete_sqlite_titles,
    read_sqlite_titles,
    write_sqlite_title,
)
from moa_graph.runs.unsaved_writes import keep_unsaved_writes

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
"""Seconds of one attempt to write; reads of the same run wait for it."""
MAX_BUSY_S = 300.0
"""Seconds after which a busy file counts as not writable."""
IN_MEMORY = ":memory:"
_UNWRITABLE_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_TABLES = ("checkpoints", "writes")


class UnsavedAnswerError(MoAError, sqlite3.OperationalError):
    """A database did not accept answers; the message says where they are."""


@dataclass
class _CurrentConnection:
    """The connection that a checkpointer and its copies, which LangGraph creates, share."""

    connection: aiosqlite.Connection
    is_in_memory: bool = False
    full_file: aiosqlite.Connection | None = None
    """Connection to the full file, from which threads are still read."""
    copied_threads: set[str] = field(default_factory=set)
    has_told_busy: bool = False
    unsaved_file: Path | None = None
    """File with the writes that the database did not accept."""


class FailoverSqliteSaver(InsertionOrderSqliteSaver):
    """A checkpointer that continues in memory when the disk is full.

    After the first failed write, all writes of this process go to memory. A thread is copied there
    at its next read or write.
    """

    on_write_failure: Callable[[str], None] | None = None
    """Called once with the reason; without it, a failed write raises."""
    on_busy: Callable[[str], None] | None = None
    """Called once with the reason why a write waits."""

    def __init__(self, conn: aiosqlite.Connection) -> None:
        self._current = _CurrentConnection(conn)
        super().__init__(conn)

    @property
    def conn(self) -> aiosqlite.Connection:
        """The connection."""
        return self._current.connection

    @conn.setter
    def conn(self, connection: aiosqlite.Connection) -> None:
        self._current.connection = connection

    @property
    def is_in_memory(self) -> bool:
        """Whether the data is lost at the end of this process."""
        return self._current.is_in_memory

    @is_in_memory.setter
    def is_in_memory(self, value: bool) -> None:
        self._current.is_in_memory = value

    @classmethod
    @asynccontextmanager
    async def open_path(cls, path: str) -> AsyncIterator["FailoverSqliteSaver"]:
        """Open a file, or `IN_MEMORY`."""
        # If aiosqlite cannot open a file, its thread outlives the loop and prints a traceback.
        sqlite3.connect(path).close()
        file_connection = await _connect(path)
        saver = cls(file_connection)
        saver.is_in_memory, saver.path = path == IN_MEMORY, path
        try:
            await file_connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
            await _prepare_new_file(file_connection)
            yield saver
        finally:
            if saver.conn is not file_connection:
                await saver.conn.close()
            await file_connection.close()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        put = super().aput

        def store() -> Awaitable[RunnableConfig]:
            return put(config, checkpoint, metadata, new_versions)

        await self._copy_thread(config)
        return await self._store(store, config)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task."""
        put = super().aput_writes
        await self._copy_thread(config)
        await self._store(lambda: put(config, writes, task_id, task_path), config, writes)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread, with its title."""
        delete = super().adelete_thread

        async def delete_with_title() -> None:
            await delete(thread_id)
            async with self.lock:
                await delete_sqlite_titles(self.conn)

        await self._wait_while_busy(delete_with_title)

    async def read_titles(self) -> dict[str, str]:
        """Return the titles of threads that people have set."""
        await self.setup()
        async with self.lock:
            stored = await read_sqlite_titles(file) if (file := self._current.full_file) else {}
            return stored | await read_sqlite_titles(self.conn)

    async def write_title(self, thread_id: str, title: str | None) -> None:
        """Set the title of a thread, or remove it."""
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}

        async def write() -> None:
            await self.setup()
            async with self.lock:
                await write_sqlite_title(self.conn, thread_id, title)

        await self._copy_thread(config)
        await self._store(write, config)

    async def setup(self) -> None:
        """Create the tables."""
        if not self.is_setup:
            await self._wait_while_busy(super().setup)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read a checkpoint."""
        await self._copy_thread(config)
        return await super().aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List the checkpoints of a thread; without a thread, those of the current database."""
        if config:
            await self._copy_thread(config)
        async for each in super().alist(config, filter=filter, before=before, limit=limit):
            yield each

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read the writes of a channel."""
        await self._copy_thread(config)
        return await super().aget_delta_channel_history(config=config, channels=channels)

    async def list_newest_ids(self) -> list[tuple[str, str]]:
        """Return each thread with its last checkpoint id, newest first, without their content."""
        await self.setup()
        async with self.lock:
            newest = await _read_newest_ids(self.conn)
            if not (file := self._current.full_file):
                return [*newest.items()]
            stored = await _read_newest_ids(file)
        newest |= {t: i for t, i in stored.items() if t not in self._current.copied_threads}
        # Two databases have no common insertion order; ids begin with their time.
        return sorted(newest.items(), key=lambda each: each[1], reverse=True)

    async def _store(
        self,
        store: Callable[[], Awaitable[T]],
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]] = (),
    ) -> T:
        """Write to the file, or to memory.

        Raises:
            UnsavedAnswerError: If both fail; it names the file with the writes.
        """
        try:
            return await self._wait_while_busy(store)
        except sqlite3.Error as error:
            try:
                await self._move_to_memory(config, error)
            except sqlite3.Error:
                thread = str(config["configurable"]["thread_id"])
                raise self._keep_writes(thread, writes, error) from error
            return await store()

    async def _wait_while_busy(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run an operation on the file, repeatedly while another process locks it."""
        end = monotonic() + MAX_BUSY_S
        while True:
            try:
                return await _finish(work())
            except sqlite3.OperationalError as error:
                if _primary_code(error) not in _BUSY_CODES or monotonic() >= end:
                    raise
                self._tell_busy(error)
            async with self.lock:  # an open transaction would block the next attempt
                await self.conn.rollback()

    def _tell_busy(self, error: sqlite3.Error) -> None:
        if self.on_busy and not self._current.has_told_busy:
            self._current.has_told_busy = True
            self.on_busy(f"another process that holds the database: {error}")

    def _keep_writes(
        self, thread: str, writes: Sequence[tuple[str, Any]], error: sqlite3.Error
    ) -> sqlite3.Error:
        """Save writes to a file, and return the error that names it."""
        if writes:
            earlier = self._current.unsaved_file
            file = keep_unsaved_writes(Path(self.path), thread, writes, earlier)
            self._current.unsaved_file = file or earlier
        if not (file := self._current.unsaved_file):
            return error
        told = UnsavedAnswerError(
            f"cannot write to the database {self.path}: {error}; the answers are in {file}"
        )
        told.sqlite_errorcode = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return told

    async def _move_to_memory(self, config: RunnableConfig, error: sqlite3.Error) -> None:
        """Write to memory from now on; errors of other kinds are raised."""
        is_unusable = _primary_code(error) in _UNWRITABLE_CODES | _BUSY_CODES
        if not is_unusable or self.on_write_failure is None:
            raise error
        async with self.lock:
            moves_now = not self.is_in_memory  # else a parallel write has done it
            if moves_now:
                await self.conn.rollback()
                memory = await _connect(IN_MEMORY)
                await AsyncSqliteSaver(memory).setup()
                self._current.full_file, self.conn, self.is_in_memory = self.conn, memory, True
        await self._copy_thread(config)
        if moves_now:
            self.on_write_failure(str(error))

    async def _copy_thread(self, config: RunnableConfig) -> None:
        """Copy a thread from the full file, once."""
        thread = str(config["configurable"]["thread_id"])
        if not (file := self._current.full_file) or thread in self._current.copied_threads:
            return
        async with self.lock:
            if thread not in self._current.copied_threads:
                for table in _TABLES:
                    await _copy_rows(file, self.conn, table, thread)
                self._current.copied_threads.add(thread)


async def _connect(path: str) -> aiosqlite.Connection:
    """Connect even if cancelled: a thread that connects later would report to a closed loop."""
    connection = aiosqlite.connect(path)
    try:
        await _finish(connection)
    except asyncio.CancelledError:
        await connection.close()
        raise
    return connection


async def _read_newest_ids(connection: aiosqlite.Connection) -> dict[str, str]:
    query = (
        "SELECT thread_id, checkpoint_id, max(rowid) AS newest FROM checkpoints "
        "WHERE checkpoint_ns = '' GROUP BY thread_id ORDER BY newest DESC"
    )
    async with connection.execute(query) as rows:
        return {str(thread): str(newest) for thread, newest, _ in await rows.fetchall()}


async def _prepare_new_file(connection: aiosqlite.Connection) -> None:
    """Enable incremental vacuum in a new file; with tables, this would require a `VACUUM`."""
    async with connection.execute("PRAGMA page_count") as rows:
        if await rows.fetchone() == (0,):
            await connection.execute("PRAGMA auto_vacuum = INCREMENTAL")


async def _finish(work: Awaitable[T]) -> T:
    """Wait for an operation even if cancelled: otherwise the file would stay locked."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # a cancelled run reports no other failure
        raise


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


async def _copy_rows(
    source: aiosqlite.Connection, target: aiosqlite.Connection, table: str, thread: str
) -> None:
    query = f"SELECT * FROM {table} WHERE thread_id = ? ORDER BY rowid"  # noqa: S608  # a name of ours
    async with source.execute(query, (thread,)) as rows:
        names = [column[0] for column in rows.description]
        places = ", ".join("?" * len(names))
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"  # noqa: S608  # likewise
        await target.executemany(insert, await rows.fetchall())
    await target.commit()
