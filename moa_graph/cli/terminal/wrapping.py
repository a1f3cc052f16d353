"""Wrap text between words on a terminal, and leave it unchanged in a pipe."""

import os
import re
from collections.abc import Callable
from typing import TextIO
from unicodedata import category

from rich.cells import cell_len

TAB_WIDTH, DEFAULT_WIDTH = 8, 80  # columns
JOINER = "\u200d"
_FENCE = re.compile(r" {0,3}(```|~~~)")
_LONGEST_FENCE = 6  # characters


def terminal_width(stream: TextIO) -> int:
    """Return the columns of the terminal of a stream."""
    if (env_width := os.environ.get("COLUMNS", "")).isdecimal() and int(env_width):
        return int(env_width)
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError):
        return DEFAULT_WIDTH


def wrap_text(text: str, width: int) -> str:
    """Wrap the lines of a text between words."""
    parts = list[str]()
    wrapper = LineWrapper(parts.append, lambda: width)
    wrapper.write(text)
    wrapper.flush()
    return "".join(parts)


class LineWrapper:
    """Wraps streamed text between words; the last word is held back until it ends.

    Code blocks are not changed.

    Args:
        out: Receives the text.
        width: Returns the number of columns, which may change.
    """

    def __init__(self, out: Callable[[str], object], width: Callable[[], int]) -> None:
        self._out, self._width = out, width
        self._line_start = ""  # the line so far, without inserted breaks
        self._column = 0
        self._line_has_word = False  # whether the line has a word, after which it may be wrapped
        self._pending_space, self._pending_word = list[str](), list[str]()  # by character
        self._in_code_block = False

    def write(self, text: str) -> None:
        """Write a chunk."""
        for character in text:
            if character == "\n":
                self._end_line()
                continue
            if len(self._line_start) < _LONGEST_FENCE:
                self._line_start += character
            if character in " \t":
                self._write_word()
                self._pending_space.append(character)
            else:
                if self._pending_word and _may_break(self._pending_word[-1], character):
                    self._write_word()
                self._pending_word.append(character)
        if self._in_code_block:  # code is not wrapped, so nothing is held back
            self._write_word()

    def flush(self) -> None:
        """Write the text that was held back."""
        self._write_word()

    def _end_line(self) -> None:
        self._write_word()
        self._out("\n")
        if _FENCE.match(self._line_start):
            self._in_code_block = not self._in_code_block
        self._line_start = ""
        self._pending_space.clear()
        self._column, self._line_has_word = 0, False

    def _write_word(self) -> None:
        if not self._pending_word:
            return
        space, word = "".join(self._pending_space), "".join(self._pending_word)
        width, wide = self._width(), cell_len(word)
        gap = sum(TAB_WIDTH if each == "\t" else 1 for each in space)
        if self._line_has_word and not self._in_code_block and self._column + gap + wide > width:
            self._out(f"\n{word}")
            self._column = wide
        else:
            self._out(f"{space}{word}")
            self._column += gap + wide
        if self._column > width:  # the terminal has wrapped it
            self._column = (self._column - 1) % width + 1
        self._line_has_word = True
        self._pending_space.clear()
        self._pending_word.clear()


def _may_break(before: str, character: str) -> bool:
    """Return whether a line may be wrapped between two characters: only next to wide ones.

    Joiners and closing punctuation do not start a line, and opening punctuation does not end one.
    """
    if JOINER in {before, character} or not cell_len(character):
        return False
    if category(character) in {"Po", "Pe", "Pf", "Lm"} or category(before) in {"Ps", "Pi"}:
        return False
    return 2 in {cell_len(before), cell_len(character)}
