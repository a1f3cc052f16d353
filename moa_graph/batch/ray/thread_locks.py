"""Locks on threads across processes: PostgreSQL advisory locks on one connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection

from moa_graph.runs.postgres_connection import close_if_silent, with_timeouts

RETRY_INTERVAL_S = 0.5  # seconds until the next attempt to lock

# The server detects a lost client machine within a minute instead of two hours.
_KEEPALIVES = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


class ThreadLocks:
    """Locks threads; the locks end with this process."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._held_threads = set[str]()  # a connection can take its own lock twice

    @asynccontextmanager
    async def hold(self, thread: str) -> AsyncIterator[None]:
        """Lock a thread; wait while another process holds it."""
        while not await self._try_lock(thread):  # noqa: ASYNC110  # others are in other processes
            await asyncio.sleep(RETRY_INTERVAL_S)
        try:
            yield
        finally:
            await self._call_lock_function("pg_advisory_unlock", thread)
            self._held_threads.discard(thread)

    async def _try_lock(self, thread: str) -> bool:
        if thread in self._held_threads:
            return False
        self._held_threads.add(thread)
        is_locked = False
        try:
            is_locked = await self._call_lock_function("pg_try_advisory_lock", thread)
        finally:
            if not is_locked:
                self._held_threads.discard(thread)
        return is_locked

    async def _call_lock_function(self, function: str, thread: str) -> bool:
        query = f"SELECT {function}(hashtextextended(%s, 0))"
        with close_if_silent(self._connection):
            row = await (await self._connection.execute(query, (thread,))).fetchone()
        return bool(row and row[0])


@asynccontextmanager
async def open_locks(db: str) -> AsyncIterator[ThreadLocks]:
    """Connect to the database of the threads."""
    async with await AsyncConnection.connect(
        with_timeouts(db), autocommit=True, options=_KEEPALIVES
    ) as connection:
        yield ThreadLocks(connection)
