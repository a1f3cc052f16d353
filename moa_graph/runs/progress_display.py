"""How far the work is: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from moa_graph.runs.formatting import format_about_seconds
from moa_graph.runs.job_progress import JobProgress

LINES = 10
SECONDS = 300  # after which a line is printed in any case


@contextmanager
def progress_display(title: str, lines: int = LINES) -> Iterator[Callable[[JobProgress], None]]:
    """Show on standard error how far the work is: give what `run_jobs` reports.

    Args:
        title: What is done.
        lines: How many are printed in all, about, where there is no terminal.
    """
    if not sys.stderr.isatty():
        yield _ProgressLines(title, lines).print
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

        def draw(progress: JobProgress) -> None:
            account = _describe_progress(progress, monotonic() - started)
            bar.update(task, total=progress.total, completed=progress.tried, account=account)

        yield draw


class _ProgressLines:
    def __init__(self, title: str, lines: int) -> None:
        self._title, self._lines, self._tried = title, lines, 0
        self._started = self._last = monotonic()

    def print(self, progress: JobProgress) -> None:
        """Print a line where there is news."""
        total, tried, now = progress.total, progress.tried, monotonic()
        news = tried * self._lines // total > self._tried * self._lines // total
        if not news and now - self._last < SECONDS:
            return
        self._tried, self._last = tried, now
        account = _describe_progress(progress, now - self._started)
        sys.stderr.write(f"{self._title}: {tried:,} of {total:,}; {account}\n")
        sys.stderr.flush()


def _describe_progress(progress: JobProgress, seconds: float) -> str:
    """Tell tokens, money, failures, and about how long it still takes."""
    parts = [f"{progress.tokens:,} tokens", progress.format_spent()]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.left and progress.tried:
        remaining = seconds / progress.tried * progress.left
        parts.append(f"about {format_about_seconds(remaining)} left")
    return "; ".join(parts)
