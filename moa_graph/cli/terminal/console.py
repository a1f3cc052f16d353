"""Where tables are printed: it loads rich, and nothing of a mixture."""

from rich.console import Console

_PIPE_WIDTH = 160  # columns of a table that goes into a pipe


def make_console() -> Console:
    """Make a console on standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
