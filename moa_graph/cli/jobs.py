"""Shared code of commands with many jobs: budget, failures, locks against other processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from moa_graph.atomic_files import PRIVATE
from moa_graph.cli.errors import EXIT_BUDGET_EXHAUSTED, EXIT_INTERRUPTED, CommandError
from moa_graph.cli.terminal.plain_text import strip_control_characters
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.models.providers import provider_of

MAX_SHOWN_FAILURES = 3  # failures that are listed


def budget_error(skipped: str, reason: str) -> CommandError:
    """Return the error for work that the budget stopped.

    Args:
        skipped: What is missing, such as `3 records were left out`.
        reason: `JobProgress.stopped`.
    """
    return CommandError(
        f"{skipped}: {reason}; run the command again to continue (--max-cost counts each run by "
        "itself)",
        EXIT_BUDGET_EXHAUSTED,
    )


@contextmanager
def explain_interrupt(describe_kept: Callable[[], str]) -> Iterator[None]:
    """Convert Ctrl-C to an error that says what is stored and how to continue.

    Raises:
        CommandError: Instead of `KeyboardInterrupt`.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError(
            f"interrupted; {describe_kept()}: run the command again to continue", EXIT_INTERRUPTED
        ) from None


def list_failures(failures: Mapping[Any, str]) -> str:
    """List the first failed items with their causes, and count the others."""
    shown = [
        f"{item}: {strip_control_characters(cause)}"
        for item, cause in islice(failures.items(), MAX_SHOWN_FAILURES)
    ]
    if len(failures) > MAX_SHOWN_FAILURES:
        shown.append(f"and {len(failures) - MAX_SHOWN_FAILURES:,} more")
    return "; ".join(shown)


def check_prices(labels: Iterable[str], prices: Prices, price_source: str) -> None:
    """Reject a budget if a price is unknown.

    Raises:
        CommandError: If so.
    """
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    paid_labels = [label for label in labels if not provider_of(label).replays_files]
    if unknown := [label for label in paid_labels if estimate_cost(label, usage, prices) is None]:
        raise CommandError(
            f"--max-cost: no price is known for {', '.join(unknown)}; give it in "
            f"{price_source}, in dollars for a million tokens read and written"
        )


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes."""
    lock = FileLock(folder / ".lock", timeout=0, mode=PRIVATE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise CommandError(f"another process is working in {folder}") from None
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()
