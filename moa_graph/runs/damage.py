"""What is stored of a thread and cannot be read: the error names the thread and its database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from moa_graph.errors import MoAError
from moa_graph.redaction import redacted_message


class DamagedThreadError(MoAError):
    """What is stored of a thread cannot be read; the text says which, and where."""


@contextmanager
def name_damaged_thread(thread: object, database: str) -> Iterator[None]:
    """Name the thread whose content is read inside, where that cannot be read.

    Raises:
        DamagedThreadError: If its content is damaged; other failures of a database are raised as
            they are.
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
