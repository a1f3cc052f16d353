"""The console for tables; it imports rich only."""

from rich.console import Console

_PIPE_WIDTH = 160  # columns of a table in a pipe


def make_console() -> Console:
    """Create a console on standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
