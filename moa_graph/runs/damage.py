"""Errors of damaged threads, with thread and database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from moa_graph.errors import MoAError
from moa_graph.redaction import redacted_message


class DamagedThreadError(MoAError):
    """The stored data of a thread cannot be read; the message names thread and database."""


@contextmanager
def name_damaged_thread(thread: object, database: str) -> Iterator[None]:
    """Add the name of the thread to errors about damaged data in this block.

    Raises:
        DamagedThreadError: If the data is damaged; other database errors pass unchanged.
    """
    try:
        yield
    except (MoAError, OSError, sqlite3.OperationalError):
        raise
    except Exception as error:
        if type(error).__module__.startswith("psycopg"):
            raise
        raise DamagedThreadError(
            f"thread {str(thread)!r} in {database} is damaged and cannot be read: "
            f"{redacted_message(error)}"
        ) from error
