"""Addresses of the databases of runs: SQLite files and PostgreSQL."""

import os
import re
import shlex
from pathlib import Path

from platformdirs import user_data_path

from moa_graph.runs.database_errors import StoreError

_PRIVATE_NAMES = r"(?:password|key|token|secret)"


def sqlite_path(db: str | None) -> Path:
    """Return the path of a database, by default of the default one, and create its folder."""
    return create_parent_folder(sqlite_file(db))


def is_postgres(db: str | None) -> bool:
    """Return whether an address is that of a PostgreSQL database."""
    return bool(db) and str(db).startswith(("postgresql://", "postgres://"))


def sqlite_file(db: str | None) -> Path:
    """Return the path of a database, or of the default one.

    Raises:
        StoreError: If there is no home folder.
    """
    own = Path(db) if db and not is_postgres(db) else None
    try:
        path = own or user_data_path("moa_graph", appauthor=False) / "runs.sqlite"
        return path.expanduser()
    except RuntimeError as error:  # the home folder is unknown
        raise StoreError("cannot use the database: there is no home folder; set HOME") from error


def create_parent_folder(path: Path) -> Path:
    """Create the folder of a file for the owner alone, and return the path of the file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def format_resume_command(thread: str, db: str | None) -> str:
    """Return the command that continues a thread, to be pasted into a shell."""
    where = ["--db", redact_password(db)] if db and db != os.environ.get("MOA_DB") else []
    return shlex.join(["moa", "resume", thread, *where])


def redact_password(db: str) -> str:
    """Remove the password from a database's address."""
    db = re.sub(r"^([^:]*+://[^/@:]*):.*(?=@)", r"\1", db)
    return re.sub(rf"(?i)([?&][\w-]*{_PRIVATE_NAMES}=)[^&]*", r"\1***", db)
