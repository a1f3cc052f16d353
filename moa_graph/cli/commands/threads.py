"""The command `moa threads`, and its options."""

from typing import Annotated

import typer

from moa_graph.cli.errors import CommandError
from moa_graph.cli.options import DatabaseOption, JsonOption
from moa_graph.cli.registration import RUNS_PANEL

PANEL = RUNS_PANEL
EXAMPLES = ("moa threads", "moa threads --prune --older-than 30d --keep 100")


def threads(
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="Number of threads.")
    ] = 20,
    prune: Annotated[bool, typer.Option("--prune", help="Delete old threads.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Delete threads whose last change is older than this: 30d, 12h.",
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="N", min=0, help="Keep the N newest threads.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the threads with their states, newest first.

    With --prune, delete old threads. Threads that a process is running, and data of other
    programs in the same database, are not deleted.
    """
    if prune:
        from moa_graph.cli.actions.prune import prune_threads

        prune_threads(older_than, keep, db, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    if older_than is not None or keep is not None or dry_run or yes:
        raise CommandError("--older-than, --keep, --dry-run and --yes go with --prune")
    from moa_graph.cli.actions.threads import print_threads

    print_threads(limit, db, as_json=as_json)
