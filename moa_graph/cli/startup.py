"""What a terminal shows while there is nothing to show yet."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TEXT, ERASE = "starting…", "\r\x1b[K"


@contextmanager
def starting(*, wanted: bool | None) -> Iterator[None]:
    """Show a first word while what takes seconds is imported and built; then take it away.

    Args:
        wanted: Whether the run is shown; by default it is on a terminal, and never elsewhere.
    """
    able = os.environ.get("TERM", "dumb") not in {"dumb", "unknown", ""}
    if wanted is False or not able or not sys.stderr.isatty():
        yield
        return
    _write(TEXT)
    try:
        yield
    finally:
        _write(ERASE)


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
