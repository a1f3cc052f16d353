"""Open the database for a command that runs even if the run cannot be stored."""

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
async def open_forgiving_store(
    db: str | None, thread: str | None = None, *, many_runs: bool = False
) -> AsyncIterator[RunStore]:
    """Open the database; if the default one is not usable, warn, and keep runs in memory.

    Args:
        db: The database that was named; it must be usable.
        thread: The thread to continue, if any. If a database exists, it must be readable.
        many_runs: Whether the command runs several threads, as a server does.

    Raises:
        StoreError: If the named database is not usable.
    """
    async with AsyncExitStack() as stack:
        try:
            warn = _warn_of_full_server_disk if many_runs else _warn_of_full_disk
            opening = open_run_store(db, on_write_failure=warn, on_busy=warn_of_busy_database)
            store = await stack.enter_async_context(opening)
            _warn_of_order_by_names(store)
        except StoreError as error:
            if db or (thread and _has_default_database()):
                raise
            print_warning(f"moa: {error}; {'runs are' if many_runs else 'this run is'} not stored")
            store = await stack.enter_async_context(open_memory_store())
        yield store


def warn_of_busy_database(awaited: str) -> None:
    """Print what a run waits for."""
    print_warning(f"moa: waiting for {awaited}")


def _warn_of_order_by_names(store: RunStore) -> None:
    if reason := getattr(store.checkpointer, "unordered_reason", None):
        print_warning(
            f"moa: cannot add the column moa_insertion_number to the table checkpoints ({reason}); "
            "the newest checkpoint is found by the clocks of the machines, which must be right"
        )


def _warn_of_full_disk(reason: str) -> None:
    print_warning(
        f"moa: cannot write to the database: {reason}; the run continues and is not stored"
    )


def _warn_of_full_server_disk(reason: str) -> None:
    print_warning(
        f"moa: cannot write to the database: {reason}; until the server is started again, runs "
        "continue and are not stored"
    )


def _has_default_database() -> bool:
    with suppress(StoreError):
        return os.path.exists(sqlite_file(None))  # noqa: PTH110  # `Path.exists` may raise
    return False
