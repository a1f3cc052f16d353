"""Delete old threads."""

import asyncio
import json
import re
import sys
from datetime import UTC, datetime, timedelta

import typer

from moa_graph.cli.actions.threads import build_threads_table
from moa_graph.cli.errors import CommandError
from moa_graph.cli.forgiving_store import warn_of_busy_database
from moa_graph.cli.terminal.console import print_table
from moa_graph.runs.retention import (
    ExpiredThread,
    PruneResult,
    delete_threads,
    find_expired_threads,
)
from moa_graph.runs.store import open_run_store
from moa_graph.runs.stored_threads import StoredThread, read_threads

AGE_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MAX_SHOWN_THREADS = 10  # threads that are listed before the confirmation
KILOBYTE = 1000


def prune_threads(
    older_than: str | None,
    keep: int | None,
    db: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete threads after a confirmation.

    Raises:
        CommandError: If no threads are selected, or nobody can confirm.
    """
    if older_than is None and keep is None:
        raise CommandError("--prune: expected --older-than 30d, --keep 100, or both")
    before = _cutoff_time(older_than) if older_than else None
    old, newest = asyncio.run(_find_old_threads(db, before, keep))
    if not as_json:
        _print_old_threads(old, newest)
    is_deletion = bool(old) and not dry_run
    if is_deletion and not yes:
        _confirm_deletion(len(old), as_json=as_json)
    pruned = asyncio.run(_delete_threads(db, old)) if is_deletion else PruneResult()
    if as_json:
        result = {"found": [each.id for each in old], **vars(pruned), "dry_run": dry_run}
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    elif is_deletion:
        typer.echo(_describe_pruned(pruned))


def parse_age(text: str) -> timedelta:
    """Parse an age such as `30d`.

    Raises:
        CommandError: If it is invalid.
    """
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if not match:
        raise CommandError(f"--older-than: {text!r}; expected a number and m, h, d or w: 30d")
    return timedelta(**{AGE_UNITS[match[2]]: int(match[1])})


def _cutoff_time(age: str) -> datetime:
    try:
        return datetime.now(UTC) - parse_age(age)
    except OverflowError:
        raise CommandError(f"--older-than: {age!r} is before the year 1") from None


async def _find_old_threads(
    db: str | None, before: datetime | None, keep: int | None
) -> tuple[list[ExpiredThread], list[StoredThread]]:
    async with open_run_store(db, create=False, on_busy=warn_of_busy_database) as store:
        old = await find_expired_threads(store.checkpointer, before=before, keep=keep)
        shown = {each.id for each in old[:MAX_SHOWN_THREADS]}
        return old, await read_threads(
            store.checkpointer, len(shown), only=lambda thread: thread.id in shown
        )


async def _delete_threads(db: str | None, old: list[ExpiredThread]) -> PruneResult:
    async with open_run_store(db, create=False, on_busy=warn_of_busy_database) as store:
        return await delete_threads(store, old)


def _print_old_threads(old: list[ExpiredThread], newest: list[StoredThread]) -> None:
    if not old:
        typer.echo("nothing to delete")
        return
    print_table(lambda width: build_threads_table(newest, width))
    if more := len(old) - len(newest):
        typer.echo(f"and {more:,} older one{'s' if more > 1 else ''}")


def _confirm_deletion(count: int, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise CommandError("--prune: nothing was deleted; add --yes, or --dry-run to list them")
    if not typer.confirm(f"Delete {_format_thread_count(count)} for good?", err=True):
        raise CommandError("nothing was deleted")


def _describe_pruned(pruned: PruneResult) -> str:
    text = f"deleted {_format_thread_count(len(pruned.deleted))}"
    if pruned.freed:
        text += f", {_format_bytes(pruned.freed)} freed"
    if pruned.in_use:
        threads = _format_thread_count(len(pruned.in_use))
        text += f"; {threads} in use, not deleted: {', '.join(pruned.in_use)}"
    return text


def _format_thread_count(count: int) -> str:
    return f"{count:,} thread{'' if count == 1 else 's'}"


def _format_bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < KILOBYTE:
            return f"{count:.3g} {unit}"
        count /= KILOBYTE
    return f"{count:.3g} GB"
