"""The notice that a terminal shows while LangGraph is imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NOTICE, ERASE_LINE = "starting…", "\r\x1b[K"


@contextmanager
def show_startup_notice(*, show_progress: bool | None) -> Iterator[None]:
    """Show a notice during slow imports, and remove it at the end.

    Args:
        show_progress: Whether to show progress; by default only on a terminal.
    """
    is_capable_terminal = os.environ.get("TERM", "dumb") not in {"dumb", "unknown", ""}
    if show_progress is False or not is_capable_terminal or not sys.stderr.isatty():
        yield
        return
    _write_stderr(NOTICE)
    try:
        yield
    finally:
        _write_stderr(ERASE_LINE)


def _write_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
