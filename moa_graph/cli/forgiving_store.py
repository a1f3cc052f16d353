"""Open the database for a command that answers, whether or not its runs can be kept."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.runs.store import (
    RunStore,
    StoreError,
    open_memory_store,
    open_run_store,
    sqlite_file,
)


@asynccontextmanager
async def open_forgiving_store(db: str | None, thread: str | None) -> AsyncIterator[RunStore]:
    """Open the database; where the default one cannot be used, warn, and keep the run in memory.

    Args:
        db: The database that was named; it must be usable.
        thread: The thread that is gone on with, if any; if there is a database, it must be
            readable.

    Raises:
        StoreError: If what was named cannot be used.
    """
    async with AsyncExitStack() as stack:
        try:
            opened = open_run_store(
                db, on_write_failure=_warn_of_full_disk, on_busy=warn_of_busy_database
            )
            store = await stack.enter_async_context(opened)
        except StoreError as error:
            if db or (thread and _has_default_database()):
                raise
            print_warning(f"moa: {error}; this run is not kept")
            store = await stack.enter_async_context(open_memory_store())
        yield store


def warn_of_busy_database(reason: str) -> None:
    """Say that a run waits for its database."""
    print_warning(f"moa: waiting for another process that holds the database: {reason}")


def _warn_of_full_disk(reason: str) -> None:
    print_warning(f"moa: cannot write to the database: {reason}; the run goes on and is not kept")


def _has_default_database() -> bool:
    with suppress(StoreError):
        return os.path.exists(sqlite_file(None))  # noqa: PTH110  # `Path.exists` may raise
    return False
