"""Delete old threads."""

import asyncio
import json
import re
import sys
from datetime import UTC, datetime, timedelta

import typer

from moa_graph.cli.actions.threads import threads_table
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.tables import console
from moa_graph.runs.retention import (
    Old,
    Pruned,
    delete,
    find_old,
)
from moa_graph.runs.store import Thread, open_store, read_thread

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SHOWN = 10  # threads that are shown before one says yes
KILO = 1000


def prune_threads(
    older_than: str | None, keep: int | None, db: str | None, *, dry: bool, yes: bool, as_json: bool
) -> None:
    """Delete threads, once somebody has said yes.

    Raises:
        CommandError: If it is not said which ones, or nobody can be asked.
    """
    if older_than is None and keep is None:
        raise CommandError("--prune: say which: --older-than 30d, --keep 100, or both")
    before = _before(older_than) if older_than else None
    old, newest = asyncio.run(_find(db, before, keep))
    if not as_json:
        _show(old, newest)
    if old and not dry and not yes:
        _ask(len(old), as_json=as_json)
    done = asyncio.run(_delete(db, old)) if old and not dry else Pruned()
    if as_json:
        told = {"found": [each.id for each in old], **vars(done), "dry_run": dry}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
    elif old and not dry:
        typer.echo(_outcome(done))


def read_age(text: str) -> timedelta:
    """Read `30d`.

    Raises:
        CommandError: If that is no age.
    """
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if not match:
        raise CommandError(f"--older-than: {text!r}; expected a number and m, h, d or w: 30d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _before(age: str) -> datetime:
    try:
        return datetime.now(UTC) - read_age(age)
    except OverflowError:
        raise CommandError(f"--older-than: {age!r}; that is before year 1") from None


async def _find(
    db: str | None, before: datetime | None, keep: int | None
) -> tuple[list[Old], list[Thread]]:
    async with open_store(db, make=False) as store:
        old = await find_old(store.saver, before=before, keep=keep)
        read = [await read_thread(store.saver, each.id) for each in old[:SHOWN]]
        return old, [thread for thread in read if thread]


async def _delete(db: str | None, old: list[Old]) -> Pruned:
    async with open_store(db, make=False) as store:
        return await delete(store, old)


def _show(old: list[Old], newest: list[Thread]) -> None:
    out = console()
    if not old:
        typer.echo("nothing to delete")
        return
    out.print(threads_table(newest, out.width))
    if more := len(old) - len(newest):
        typer.echo(f"and {more:,} older one{'s' if more > 1 else ''}")


def _ask(count: int, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise CommandError("--prune: nothing was deleted; say --yes, or --dry-run to look first")
    if not typer.confirm(f"Delete {_threads(count)} for good?", err=True):
        raise CommandError("nothing was deleted")


def _outcome(done: Pruned) -> str:
    told = f"deleted {_threads(len(done.deleted))}"
    if done.freed:
        told += f", {_bytes(done.freed)} given back"
    if done.in_use:
        told += f"; {_threads(len(done.in_use))} in use, left alone: {', '.join(done.in_use)}"
    return told


def _threads(count: int) -> str:
    return f"{count:,} thread{'' if count == 1 else 's'}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < KILO:
            return f"{count:.3g} {unit}"
        count /= KILO
    return f"{count:.3g} GB"
