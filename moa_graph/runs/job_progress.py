"""How far the work is: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from moa_graph.runs.formatting import format_about_seconds
from moa_graph.runs.jobs import Tally

LINES = 10
SECONDS = 300  # after which a line is printed in any case


@contextmanager
def progress(title: str, lines: int = LINES) -> Iterator[Callable[[Tally], None]]:
    """Show on standard error how far the work is: give what `work_through` tells.

    Args:
        title: What is done.
        lines: How many are printed in all, about, where there is no terminal.
    """
    if not sys.stderr.isatty():
        yield _Lines(title, lines).print
        return
    started = monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[account]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, account="")

        def draw(tally: Tally) -> None:
            tried = tally.total - tally.left
            account = _describe_progress(tally, monotonic() - started)
            bar.update(task, total=tally.total, completed=tried, account=account)

        yield draw


class _Lines:
    def __init__(self, title: str, lines: int) -> None:
        self._title, self._lines, self._tried = title, lines, 0
        self._started = self._last = monotonic()

    def print(self, tally: Tally) -> None:
        """Print a line where there is news."""
        tried, now = tally.total - tally.left, monotonic()
        news = tried * self._lines // tally.total > self._tried * self._lines // tally.total
        if not news and now - self._last < SECONDS:
            return
        self._tried, self._last = tried, now
        account = _describe_progress(tally, now - self._started)
        sys.stderr.write(f"{self._title}: {tried:,} of {tally.total:,}; {account}\n")
        sys.stderr.flush()


def _describe_progress(tally: Tally, seconds: float) -> str:
    """Tell tokens, money, failures, and about how long it still takes."""
    parts = [f"{tally.tokens:,} tokens", tally.money()]
    if tally.failed:
        parts.append(f"{tally.failed:,} failed")
    if tally.left and tally.left < tally.total:
        left = seconds / (tally.total - tally.left) * tally.left
        parts.append(f"about {format_about_seconds(left)} left")
    return "; ".join(parts)
