"""Errors of the database of runs."""

import sqlite3

from moa_graph.errors import MoAError


class StoreError(MoAError):
    """The store is not usable; the message explains it completely."""


def is_database_error(error: BaseException) -> bool:
    """Return whether an error comes from the checkpoint database and not the run."""
    return isinstance(error, sqlite3.Error) or type(error).__module__.startswith("psycopg")
