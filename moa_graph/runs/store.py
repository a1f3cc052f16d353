"""The store of runs: its database, and locks on its threads."""

import os
import re
import shlex
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from platformdirs import user_data_path

from moa_graph.atomic_files import restrict_to_owner
from moa_graph.config.model import MoAConfig
from moa_graph.errors import MoAError
from moa_graph.redaction import redacted_message
from moa_graph.runs.failover_saver import IN_MEMORY, FailoverSqliteSaver
from moa_graph.runs.lock_files import hold_lock_file
from moa_graph.runs.stored_configs import CONFIG_KEY

Checkpointer = BaseCheckpointSaver[Any]

RUN_BEGAN_KEY = "moa_run_began"  # metadata key of each checkpoint: start of its run, in seconds
_BATCH_THREAD_ID = re.compile(r"(.+-[0-9a-f]{8})-\d+-[0-9a-f]{8}")
"""Threads of `batch.input.thread_id_for`; the group is their batch."""

_PRIVATE_NAMES = r"(?:password|key|token|secret)"


class StoreError(MoAError):
    """The store is not usable; the message explains it completely."""


@dataclass(frozen=True)
class RunStore:
    """An open checkpoint database."""

    checkpointer: Checkpointer
    try_lock: Callable[[str], AbstractAsyncContextManager[bool]]
    """Locks a name for this process; yields whether no other process holds it."""

    @property
    def keeps_runs(self) -> bool:
        """Whether the data persist after this process."""
        return not getattr(self.checkpointer, "is_in_memory", False)

    @asynccontextmanager
    async def lock_thread(self, thread: str) -> AsyncIterator[None]:
        """Lock a thread for this process; a thread of `moa batch` is locked with its batch.

        Raises:
            StoreError: If another process holds it.
        """
        batch = _BATCH_THREAD_ID.fullmatch(thread)
        async with AsyncExitStack() as locks:
            for name in (batch[1], thread) if batch else (thread,):
                if not await locks.enter_async_context(self.try_lock(name)):
                    raise StoreError(f"thread {thread} is being run by another process")
            yield


@asynccontextmanager
async def open_run_store(
    db: str | None,
    *,
    create: bool = True,
    on_write_failure: Callable[[str], None] | None = None,
    on_busy: Callable[[str], None] | None = None,
) -> AsyncIterator[RunStore]:
    """Open the checkpoint database.

    Args:
        db: Path of an SQLite file, or address of a PostgreSQL database.
        create: Whether to create a missing file; a command that only reads may have a misspelt
            path.
        on_write_failure: Called once with the cause if an SQLite file can no longer be written. The
            run continues in memory. Without it, a failed write raises.
        on_busy: Called once with the cause if a run waits: for another process that holds an SQLite
            file, or for PostgreSQL.

    Raises:
        StoreError: If the database is not usable.
    """
    opened = (
        _open_postgres(str(db), on_busy)
        if is_postgres(db)
        else _open_sqlite(db, create=create, on_write_failure=on_write_failure, on_busy=on_busy)
    )
    run_error: OSError | None = None
    try:
        async with opened as store:
            try:
                yield store
            except OSError as error:  # an error of a model's connection, or of another file
                run_error = error
                raise
    except (sqlite3.Error, OSError) as error:
        if error is run_error:
            raise
        raise _unusable_database_error(error, db) from error


def _unusable_database_error(error: Exception, db: str | None) -> StoreError:
    db = str(db) if is_postgres(db) else str(sqlite_file(db).absolute())
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return StoreError(f"cannot use the database {redact_password(db)}: {reason}")


def sqlite_path(db: str | None) -> Path:
    """Return the path of a database, by default of the default one, and create its folder."""
    return _create_parent_folder(sqlite_file(db))


def is_postgres(db: str | None) -> bool:
    """Return whether an address is that of a PostgreSQL database."""
    return bool(db) and str(db).startswith(("postgresql://", "postgres://"))


@asynccontextmanager
async def _open_sqlite(
    db: str | None,
    *,
    create: bool,
    on_write_failure: Callable[[str], None] | None,
    on_busy: Callable[[str], None] | None,
) -> AsyncIterator[RunStore]:
    if db and not create and not sqlite_file(db).exists():
        raise StoreError(f"there is no database {sqlite_file(db)}; `moa ask` creates one")
    path = sqlite_path(db)

    @asynccontextmanager
    async def try_lock(name: str) -> AsyncIterator[bool]:
        file = sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        with ExitStack() as stack:
            try:
                lock_file = _create_parent_folder(path.with_name(f"{path.name}.locks") / file)
                is_held = stack.enter_context(hold_lock_file(lock_file))
            except OSError as error:
                if on_write_failure is None:
                    raise _unusable_database_error(error, str(path)) from error
                is_held = True  # a folder without lock files has no other writers
            yield is_held

    restrict_to_owner(path)
    async with FailoverSqliteSaver.open_path(str(path)) as saver:
        saver.on_write_failure, saver.on_busy = on_write_failure, on_busy
        await saver.setup()  # enables write-ahead logging
        # A kill loses nothing; a loss of power may lose the last moments, without corruption.
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield RunStore(saver, try_lock)


@asynccontextmanager
async def open_memory_store() -> AsyncIterator[RunStore]:
    """Open a store in memory."""

    @asynccontextmanager
    async def try_lock(_: str) -> AsyncIterator[bool]:
        yield True

    async with FailoverSqliteSaver.open_path(IN_MEMORY) as saver:
        await saver.setup()
        yield RunStore(saver, try_lock)


@asynccontextmanager
async def _open_postgres(db: str, on_busy: Callable[[str], None] | None) -> AsyncIterator[RunStore]:
    try:
        from psycopg import AsyncConnection, Error

        from moa_graph.runs.postgres_connection import (
            close_if_silent,
            limit_statements,
            with_timeouts,
        )
        from moa_graph.runs.postgres_saver import InsertionOrderPostgresSaver
    except ImportError:
        raise StoreError("PostgreSQL needs a package: pip install 'moa_graph[postgres]'") from None

    on_wait = _call_once(on_busy) if on_busy else None

    @asynccontextmanager
    async def try_lock(name: str) -> AsyncIterator[bool]:
        # A separate connection, so that the lock ends with this process in any case.
        async with await AsyncConnection.connect(address, autocommit=True) as connection:
            await limit_statements(connection, on_wait)
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            with close_if_silent(connection, on_wait=on_wait):
                row = await (await connection.execute(query, (name,))).fetchone()
            yield bool(row and row[0])

    try:
        address = with_timeouts(db)
        async with InsertionOrderPostgresSaver.from_conn_string(address) as opened:
            saver = cast("InsertionOrderPostgresSaver", opened)
            saver.on_wait = on_wait
            await saver.setup()
            yield RunStore(saver, try_lock)
    except Error as error:
        raise StoreError(f"cannot use the database: {redacted_message(error)}") from None


def _call_once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that forwards only its first call."""
    told: list[str] = []

    def tell_once(text: str) -> None:
        if not told:
            told.append(text)
            tell(text)

    return tell_once


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


def _create_parent_folder(path: Path) -> Path:
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


def build_run_config(thread: str, mixture: MoAConfig) -> RunnableConfig:
    """Return the config of a run that starts now on a thread.

    Its checkpoints store the mixture, for resuming, and the start of the run.
    """
    stored_config = mixture.model_dump_json(exclude_defaults=True)
    metadata = {CONFIG_KEY: stored_config, RUN_BEGAN_KEY: time()}
    return {"configurable": {"thread_id": thread}, "metadata": metadata}


def is_database_error(error: BaseException) -> bool:
    """Return whether an error comes from the checkpoint database and not the run."""
    return isinstance(error, sqlite3.Error) or type(error).__module__.startswith("psycopg")
