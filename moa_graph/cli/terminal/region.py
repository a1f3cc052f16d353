"""The lower end of a terminal, drawn again and again in place."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

# What is between the two is shown at once; a terminal that does not know them ignores them.
BEGIN_SYNCHRONIZED_UPDATE, END_SYNCHRONIZED_UPDATE = "\x1b[?2026h", "\x1b[?2026l"
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"  # a character that is wider than we think wraps no line
ERASE_LINE_END, ERASE_SCREEN_END = "\x1b[K", "\x1b[J"


class TerminalRegion:
    """Lines that are drawn over the lines before.

    Rich's `Live` blanks its lines before it draws, prints a last frame that is higher than the
    terminal, and leaves remains when the window becomes narrower; and it draws in a thread
    beside an answer that is being printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths: list[int] = []

    def draw(self, lines: Sequence[Text]) -> None:
        """Draw lines, which must be fewer than the terminal has, in place of those before."""
        rendered_lines = [self._render_line(line) + ERASE_LINE_END for line in lines]
        text = "".join(f"{line}\n" for line in rendered_lines)
        line_count = self._count_drawn_lines()
        move_up = f"\x1b[{line_count}A\r" if line_count else ""
        self._console.file.write(
            f"{BEGIN_SYNCHRONIZED_UPDATE}{NO_WRAP}{move_up}{text}{ERASE_SCREEN_END}{WRAP}{END_SYNCHRONIZED_UPDATE}"
        )
        self._console.file.flush()
        self._widths = [line.cell_len for line in lines]

    def _count_drawn_lines(self) -> int:
        """Count the lines that the last drawing takes: a window made narrower folds them."""
        width = max(1, self._console.width)
        return sum(max(1, -(-each // width)) for each in self._widths)

    def _render_line(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        return captured.get()
