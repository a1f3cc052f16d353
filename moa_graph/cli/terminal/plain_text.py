"""Make text safe for a terminal and wrap its lines between words."""

import re
import sys
from typing import TextIO
from unicodedata import category

import typer

from moa_graph.cli.terminal.wrapping import terminal_width, wrap_text

_CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # they change the direction of adjacent text
)
_COMMAND_BEHIND = re.compile(r"(?<=[;,] continue with:) ")


def strip_control_characters(text: str) -> str:
    """Remove characters that control a terminal or change the direction of text."""
    return _CONTROL_CHARACTERS.sub("", text)


def to_single_line(text: str) -> str:
    """Put a text on one line, without characters that control a terminal or change the direction.

    It also removes joiners and variation selectors, whose width differs between terminals.
    """
    return "".join(each for each in " ".join(text.split()) if not _is_invisible(each))


def _is_invisible(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or category(character) in {"Cc", "Cf", "Cs"}


def fit_to_stream(text: str, stream: TextIO) -> str:
    """Return a text for a stream: unchanged for a pipe, otherwise plain and wrapped."""
    return (
        wrap_text(strip_control_characters(text), terminal_width(stream))
        if stream.isatty()
        else text
    )


def print_notice(text: str) -> None:
    """Print a notice on standard output; a terminal gets wrapped lines."""
    typer.echo(_fit_notice(text, sys.stdout))


def print_warning(text: str) -> None:
    """Print a notice on standard error; a terminal gets wrapped lines."""
    typer.echo(_fit_notice(text, sys.stderr), err=True)


def _fit_notice(text: str, stream: TextIO) -> str:
    """Wrap a line between words; a command to copy stays on one line."""
    if (command := _COMMAND_BEHIND.search(text)) and stream.isatty():
        before = fit_to_stream(text[: command.start()], stream)
        return f"{before}\n  {strip_control_characters(text[command.end() :])}"
    return fit_to_stream(text, stream)
