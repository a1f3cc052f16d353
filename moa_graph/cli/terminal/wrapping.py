"""Text on a terminal, with its lines broken between words. Into pipes it goes as it is."""

import os
import re
from collections.abc import Callable
from typing import TextIO
from unicodedata import category

from rich.cells import cell_len

TAB, DEFAULT = 8, 80  # columns
JOINER = "\u200d"
_FENCE = re.compile(r" {0,3}(```|~~~)")
_LONGEST_FENCE = 6  # characters


def columns(stream: TextIO) -> int:
    """Tell how wide the terminal behind a stream is."""
    if (said := os.environ.get("COLUMNS", "")).isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT
    except (OSError, ValueError):
        return DEFAULT


def wrapped(text: str, width: int) -> str:
    """Break the lines of a text between words."""
    parts = list[str]()
    wrapper = Wrapper(parts.append, lambda: width)
    wrapper.write(text)
    wrapper.end()
    return "".join(parts)


class Wrapper:
    """Breaks the lines of a text that comes in pieces; the last word is held back until it ends.

    Blocks of code are left as they are.

    Args:
        out: Takes what is to be written.
        width: Tells how many columns there are; it may change.
    """

    def __init__(self, out: Callable[[str], object], width: Callable[[], int]) -> None:
        self._out, self._width = out, width
        self._begin = ""  # of the line as it came, without breaks of ours
        self._column = 0
        self._begun = False  # whether a word stands on the line: it may be broken behind it
        self._space, self._word = list[str](), list[str]()  # character by character
        self._code = False

    def write(self, text: str) -> None:
        """Write a piece."""
        for character in text:
            if character == "\n":
                self._end_line()
                continue
            if len(self._begin) < _LONGEST_FENCE:
                self._begin += character
            if character in " \t":
                self._put_word()
                self._space.append(character)
            else:
                if self._word and _may_break(self._word[-1], character):
                    self._put_word()
                self._word.append(character)
        if self._code:  # nothing is broken in it: nothing is to be waited for
            self._put_word()

    def end(self) -> None:
        """Write what was held back."""
        self._put_word()

    def _end_line(self) -> None:
        self._put_word()
        self._out("\n")
        if _FENCE.match(self._begin):
            self._code = not self._code
        self._begin = ""
        self._space.clear()
        self._column, self._begun = 0, False

    def _put_word(self) -> None:
        if not self._word:
            return
        space, word = "".join(self._space), "".join(self._word)
        width, wide = self._width(), cell_len(word)
        gap = sum(TAB if each == "\t" else 1 for each in space)
        if self._begun and not self._code and self._column + gap + wide > width:
            self._out(f"\n{word}")
            self._column = wide
        else:
            self._out(f"{space}{word}")
            self._column += gap + wide
        if self._column > width:  # the terminal has folded it
            self._column = (self._column - 1) % width + 1
        self._begun = True
        self._space.clear()
        self._word.clear()


def _may_break(before: str, character: str) -> bool:
    """Tell whether a line may end between two characters: beside a wide one, as of Chinese.

    What joins or closes does not begin a line, and what opens does not end one.
    """
    if JOINER in {before, character} or not cell_len(character):
        return False
    if category(character) in {"Po", "Pe", "Pf", "Lm"} or category(before) in {"Ps", "Pi"}:
        return False
    return 2 in {cell_len(before), cell_len(character)}  # noqa: PLR2004  # columns
