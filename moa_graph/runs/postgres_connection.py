"""Connections to PostgreSQL that end when nobody answers: a half-open one would wait for ever."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

STATEMENT_TIMEOUT_S = 60.0
"""Seconds that a statement of a run may take: by the server's clock, and then by ours."""
SETUP_TIMEOUT_S = 600.0
"""Seconds that making the tables, or changing those of an older version, may take."""
_GRACE_S = 5.0  # in which the server says itself that a statement took too long
_DEFAULTS = {
    "connect_timeout": 15,  # seconds
    "keepalives": 1,
    "keepalives_idle": 20,  # seconds
    "keepalives_interval": 5,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 35_000,  # milliseconds
}


def with_timeouts(db: str) -> str:
    """Give an address of a database with the limits that it does not set itself."""
    given = conninfo_to_dict(db)
    return make_conninfo(db, **{k: v for k, v in _DEFAULTS.items() if k not in given})


async def limit_statements(connection: AsyncConnection[Any]) -> None:
    """Have the server end a statement that takes too long, unless its address says how long."""
    if "statement_timeout" not in (connection.info.options or ""):
        with close_if_silent(connection):
            await connection.execute(f"SET statement_timeout = {int(STATEMENT_TIMEOUT_S * 1000)}")


@contextmanager
def close_if_silent(
    connection: AsyncConnection[Any], seconds: float | None = None
) -> Iterator[None]:
    """Close a connection if what is asked inside has no answer after so many seconds.

    A cancelled statement would wait for the server, too.

    Raises:
        OperationalError: If it was closed.
    """
    limit = STATEMENT_TIMEOUT_S + _GRACE_S if seconds is None else seconds
    closed = False

    def close() -> None:
        nonlocal closed
        closed = True
        _shut_down(connection)

    timer = asyncio.get_running_loop().call_later(limit, close)
    try:
        yield
    except OperationalError:
        if closed:
            raise OperationalError(f"the database gave no answer within {limit:g} s") from None
        raise
    finally:
        timer.cancel()


def _shut_down(connection: AsyncConnection[Any]) -> None:
    """End the connection of the socket; whoever waits for it is told."""
    with (
        suppress(OSError, OperationalError),
        socket.socket(fileno=os.dup(connection.fileno())) as s,
    ):
        s.shutdown(socket.SHUT_RDWR)
