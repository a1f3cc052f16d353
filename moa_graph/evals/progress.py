"""How far the work is: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from moa_graph.evals.running import Tally

LINES = 10  # that are printed in all, about
SECONDS = 300  # after which a line is printed in any case


@contextmanager
def progress(title: str) -> Iterator[Callable[[Tally], None]]:
    """Show on standard error how far the work is: give what `work_through` tells."""
    if sys.stderr.isatty():
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[account]}"),
            console=Console(stderr=True),
        ) as bar:
            task = bar.add_task(title, total=None, account="")

            def draw(tally: Tally) -> None:
                tried = tally.total - tally.left
                bar.update(task, total=tally.total, completed=tried, account=_account(tally))

            yield draw
    else:
        yield _Lines(title).print


class _Lines:
    def __init__(self, title: str) -> None:
        self._title, self._started, self._tried, self._last = title, monotonic(), 0, monotonic()

    def print(self, tally: Tally) -> None:
        """Print a line where there is news."""
        tried, now = tally.total - tally.left, monotonic()
        tenths = tried * LINES // tally.total > self._tried * LINES // tally.total
        if not tenths and now - self._last < SECONDS:
            return
        self._tried, self._last = tried, now
        left = (now - self._started) / tried * tally.left if tried else None
        time = "" if left is None or not tally.left else f"; about {_duration(left)} left"
        line = f"{self._title}: {tried:,} of {tally.total:,}; {_account(tally)}{time}"
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _account(tally: Tally) -> str:
    failed = f"; {tally.failed:,} failed" if tally.failed else ""
    return f"{tally.tokens:,} tokens; {tally.money()}{failed}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
