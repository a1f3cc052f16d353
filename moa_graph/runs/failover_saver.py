"""A checkpointer on SQLite that goes on in memory where its file cannot be written."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

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

from moa_graph.runs.insertion_order import InsertionOrderSqliteSaver

IN_MEMORY = ":memory:"
_UNWRITABLE_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}
_TABLES = ("checkpoints", "writes")


@dataclass
class _CurrentConnection:
    """Where a saver and its copies, which LangGraph makes, read and write."""

    connection: aiosqlite.Connection
    is_in_memory: bool = False
    full_file: aiosqlite.Connection | None = None
    """The file that was left, from which threads are still read."""
    copied_threads: set[str] = field(default_factory=set)


class FailoverSqliteSaver(InsertionOrderSqliteSaver):
    """A checkpointer whose run does not end with the room on the disk.

    From the first write that fails on, all writes of this process go into memory. A thread is
    copied there when it is next read or written.
    """

    on_write_failure: Callable[[str], None] | None = None
    """Is told once, with the reason; without it, a failed write raises."""

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
        """Whether nothing is kept beyond this process."""
        return self._current.is_in_memory

    @is_in_memory.setter
    def is_in_memory(self, value: bool) -> None:
        self._current.is_in_memory = value

    @classmethod
    @asynccontextmanager
    async def open_path(cls, path: str) -> AsyncIterator["FailoverSqliteSaver"]:
        """Open a file, or `IN_MEMORY`."""
        # Where aiosqlite cannot open a file, its thread outlives the loop and prints a traceback.
        sqlite3.connect(path).close()
        async with cls.from_conn_string(path) as opened:
            saver = cast("FailoverSqliteSaver", opened)
            saver.is_in_memory = path == IN_MEMORY
            file_connection = saver.conn
            try:
                yield saver
            finally:
                if saver.conn is not file_connection:
                    await saver.conn.close()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        await self._copy_thread(config)
        try:
            return await super().aput(config, checkpoint, metadata, new_versions)
        except sqlite3.Error as error:
            await self._move_to_memory(config, error)
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task."""
        await self._copy_thread(config)
        try:
            await super().aput_writes(config, writes, task_id, task_path)
        except sqlite3.Error as error:
            await self._move_to_memory(config, error)
            await super().aput_writes(config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read a checkpoint."""
        await self._copy_thread(config)
        return await super().aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Read the checkpoints of a thread; without one, those of this process's last database."""
        if config:
            await self._copy_thread(config)
        async for each in super().alist(config, filter=filter, before=before, limit=limit):
            yield each

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read the writes that a channel is made of."""
        await self._copy_thread(config)
        return await super().aget_delta_channel_history(config=config, channels=channels)

    async def list_newest_ids(self) -> list[tuple[str, str]]:
        """Name each thread and its last checkpoint, newest first, without reading their content."""
        await self.setup()
        async with self.lock:
            newest = await _read_newest_ids(self.conn)
            if not (file := self._current.full_file):
                return [*newest.items()]
            stored = await _read_newest_ids(file)
        newest |= {t: i for t, i in stored.items() if t not in self._current.copied_threads}
        # Two databases have no common order of insertion; ids begin with their time.
        return sorted(newest.items(), key=lambda each: each[1], reverse=True)

    async def _move_to_memory(self, config: RunnableConfig, error: sqlite3.Error) -> None:
        """Write to memory from now on; raise errors of other kinds."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary one
        if code not in _UNWRITABLE_CODES or self.on_write_failure is None:
            raise error
        async with self.lock:
            moves_now = not self.is_in_memory  # else a write beside this one has moved it
            if moves_now:
                await self.conn.rollback()
                memory = await aiosqlite.connect(IN_MEMORY)
                await AsyncSqliteSaver(memory).setup()
                self._current.full_file, self.conn, self.is_in_memory = self.conn, memory, True
        await self._copy_thread(config)
        if moves_now:
            self.on_write_failure(str(error))

    async def _copy_thread(self, config: RunnableConfig) -> None:
        """Copy a thread out of the file that was left, once."""
        thread = str(config["configurable"]["thread_id"])
        if not (file := self._current.full_file) or thread in self._current.copied_threads:
            return
        async with self.lock:
            if thread not in self._current.copied_threads:
                for table in _TABLES:
                    await _copy_rows(file, self.conn, table, thread)
                self._current.copied_threads.add(thread)


async def _read_newest_ids(connection: aiosqlite.Connection) -> dict[str, str]:
    query = (
        "SELECT thread_id, checkpoint_id, max(rowid) AS newest FROM checkpoints "
        "WHERE checkpoint_ns = '' GROUP BY thread_id ORDER BY newest DESC"
    )
    async with connection.execute(query) as rows:
        return {str(thread): str(newest) for thread, newest, _ in await rows.fetchall()}


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
