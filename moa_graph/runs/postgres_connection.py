"""PostgreSQL connections with timeouts, so that half-open ones fail."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

STATEMENT_TIMEOUT_S = 30.0
"""Time limit of a statement in seconds, enforced by the server and then by this process."""
SETUP_TIMEOUT_S = 600.0
"""Time limit in seconds for creating or migrating tables."""
SLOW_S = 10.0
"""Seconds without an answer until it is reported."""
_GRACE_S = 5.0  # extra seconds, so that the server's own timeout comes first
_DEFAULTS = {
    "connect_timeout": 15,  # seconds
    "keepalives": 1,
    "keepalives_idle": 15,  # seconds
    "keepalives_interval": 5,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}


def with_timeouts(db: str) -> str:
    """Return the address of a database with the timeouts that it does not set."""
    parameters = conninfo_to_dict(db)
    return make_conninfo(db, **{k: v for k, v in _DEFAULTS.items() if k not in parameters})


async def limit_statements(
    connection: AsyncConnection[Any], on_wait: Callable[[str], None] | None = None
) -> None:
    """Set the server's statement timeout, unless the address of the database sets one."""
    if "statement_timeout" not in (connection.info.options or ""):
        with close_if_silent(connection, on_wait=on_wait):
            await connection.execute(f"SET statement_timeout = {int(STATEMENT_TIMEOUT_S * 1000)}")


@contextmanager
def close_if_silent(
    connection: AsyncConnection[Any],
    seconds: float | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Close a connection that does not answer for some seconds while this block uses it.

    Cancelling a statement would wait for the server too. Statements run one after another: as long
    as other statements are answered, the connection is not silent.

    Args:
        connection: The connection.
        seconds: The time limit; by default that of a statement.
        on_wait: Called if there has been no answer for a while.

    Raises:
        OperationalError: If the connection was closed.
    """
    watch = _Watch(connection, seconds or STATEMENT_TIMEOUT_S + _GRACE_S, on_wait)
    try:
        yield
    except OperationalError:
        if watch.has_closed:
            reason = f"the database gave no answer within {watch.limit:g} s"
            raise OperationalError(reason) from None
        raise
    else:
        _last_answers[connection] = watch.loop.time()
    finally:
        watch.stop()


_last_answers: "WeakKeyDictionary[AsyncConnection[Any], float]" = WeakKeyDictionary()


class _Watch:
    """Checks periodically whether a connection has answered."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        limit: float,
        on_wait: Callable[[str], None] | None,
    ) -> None:
        self.loop, self.limit, self.has_closed = asyncio.get_running_loop(), limit, False
        self._connection, self._on_wait = connection, on_wait
        self._started = self.loop.time()
        self._timer = self._look_after(0.0)

    def stop(self) -> None:
        self._timer.cancel()

    def _look_after(self, silence: float) -> asyncio.TimerHandle:
        """Schedule the next check."""
        steps = [SLOW_S, self.limit] if self._on_wait else [self.limit]
        return self.loop.call_later(min(s for s in steps if s > silence) - silence, self._look)

    def _look(self) -> None:
        last = max(self._started, _last_answers.get(self._connection, 0.0))
        silence = self.loop.time() - last
        if silence >= self.limit:
            self.has_closed = True
            _shut_down(self._connection)
            return
        if self._on_wait and silence >= SLOW_S:
            self._on_wait(f"an answer of the database, for {SLOW_S:g} s so far")
            self._on_wait = None
        self._timer = self._look_after(silence)


def _shut_down(connection: AsyncConnection[Any]) -> None:
    """Shut down the socket of the connection, which wakes its waiters."""
    with (
        suppress(OSError, OperationalError),
        socket.socket(fileno=os.dup(connection.fileno())) as s,
    ):
        s.shutdown(socket.SHUT_RDWR)
