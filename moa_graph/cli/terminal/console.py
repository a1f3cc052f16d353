"""The console for tables; it imports rich only."""

import sys
from collections.abc import Callable

from rich.console import Console, RenderableType

_PIPE_WIDTH = 10_000  # columns; in a pipe, a table is as wide as its content


def make_console() -> Console:
    """Create a console on standard output."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def print_table(build_table: Callable[[int], RenderableType]) -> None:
    """Print a table: in a pipe with one row a line, without spaces at the ends of lines.

    Args:
        build_table: Builds the table for a number of columns.
    """
    console = make_console()
    if console.is_terminal:
        console.print(build_table(console.width))
        return
    with console.capture() as capture:
        console.print(build_table(console.width))
    lines = capture.get().removesuffix("\n").split("\n")
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in lines)
