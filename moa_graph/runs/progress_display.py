"""Progress of many jobs: a bar on a terminal, or lines in a log."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from moa_graph.runs.formatting import format_about_seconds
from moa_graph.runs.job_progress import JobProgress

LINES = 10
SILENCE_S = 30.0
"""Seconds without progress until a reminder; the interval doubles after each reminder."""
SECONDS = 300  # seconds after which a line is printed in any case


@contextmanager
def progress_display(title: str, lines: int = LINES) -> Iterator[Callable[[JobProgress], None]]:
    """Show progress on standard error; yield the function that `run_jobs` calls.

    Args:
        title: Name of the work.
        lines: Approximate number of lines if there is no terminal.
    """
    if not sys.stderr.isatty():
        with _silence_reminder(title, _print_line) as note_news:
            printed = _ProgressLines(title, lines)

            def print_news(progress: JobProgress) -> None:
                note_news(progress)
                printed.print(progress)

            yield print_news
        return
    started = monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[account]}"),
    )
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console) as bar,
        _silence_reminder(title, console.print) as note_news,
    ):
        task = bar.add_task(title, total=None, account="")

        def draw(progress: JobProgress) -> None:
            note_news(progress)
            account = _describe_progress(progress, monotonic() - started)
            bar.update(task, total=progress.total, completed=progress.tried, account=account)

        yield draw


class _ProgressLines:
    def __init__(self, title: str, lines: int) -> None:
        self._title, self._lines, self._tried = title, lines, 0
        self._started = self._last = monotonic()

    def print(self, progress: JobProgress) -> None:
        """Print a line if there is progress."""
        total, tried, now = progress.total, progress.tried, monotonic()
        news = tried * self._lines // total > self._tried * self._lines // total
        if not news and now - self._last < SECONDS:
            return
        self._tried, self._last = tried, now
        account = _describe_progress(progress, now - self._started)
        _print_line(f"{self._title}: {tried:,} of {total:,}; {account}")


@contextmanager
def _silence_reminder(
    title: str, print_line: Callable[[str], object]
) -> Iterator[Callable[[JobProgress], None]]:
    """Print a line after a long silence; return the function to call on progress."""
    news, ended = threading.Event(), threading.Event()
    remainder = ""

    def note_news(progress: JobProgress) -> None:
        nonlocal remainder
        remainder = f"; {progress.left:,} of {progress.total:,} left"
        news.set()

    def remind() -> None:
        silent, pause = 0.0, SILENCE_S
        while not ended.is_set():
            if news.wait(pause):
                news.clear()
                silent, pause = 0.0, SILENCE_S
                continue
            silent, pause = silent + pause, silent + pause
            print_line(
                f"{title}: still waiting, no answer for {format_about_seconds(silent)}{remainder}"
            )

    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield note_news
    finally:
        ended.set()
        news.set()
        reminder.join()


def _print_line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _describe_progress(progress: JobProgress, seconds: float) -> str:
    """Format tokens, cost, failures and the remaining time."""
    parts = [f"{progress.tokens:,} tokens", progress.format_spent()]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.left and progress.tried:
        remaining = seconds / progress.tried * progress.left
        parts.append(f"about {format_about_seconds(remaining)} left")
    return "; ".join(parts)
