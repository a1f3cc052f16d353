"""The lower region of a terminal, which is redrawn in place."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

# Synchronized output: a terminal shows the text between the two at once, or ignores them.
BEGIN_SYNCHRONIZED_UPDATE, END_SYNCHRONIZED_UPDATE = "\x1b[?2026h", "\x1b[?2026l"
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"  # no line wrap, in case a character is wider than expected
ERASE_LINE_END, ERASE_SCREEN_END = "\x1b[K", "\x1b[J"


class TerminalRegion:
    """Lines that overwrite the lines drawn before.

    Rich's `Live` does not fit: it clears its lines before it draws, prints a last frame that is
    higher than the terminal, leaves remains when the window becomes narrower, and draws in a thread
    beside an answer that is being printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths: list[int] = []

    def draw(self, lines: Sequence[Text]) -> None:
        """Draw lines in place of those before; they must be fewer than those of the terminal."""
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
        """Return the lines of the last drawing: a narrower window has wrapped them."""
        width = max(1, self._console.width)
        return sum(max(1, -(-each // width)) for each in self._widths)

    def _render_line(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        return captured.get()
