"""Text made fit for a terminal: nothing steers it, and its lines end between words."""

import re
import sys
from typing import TextIO
from unicodedata import category

import typer

from moa_graph.cli.terminal.wrapping import terminal_width, wrap_text

_CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # they reverse what stands beside them
)
_COMMAND_BEHIND = re.compile(r"(?<=[;,] continue with:) ")


def strip_control_characters(text: str) -> str:
    """Drop what a model's text could steer a terminal with, or make it read in another order."""
    return _CONTROL_CHARACTERS.sub("", text)


def to_single_line(text: str) -> str:
    """Put a text on one line, without what could steer a terminal or reverse the line.

    What joins or varies characters goes too: terminals disagree about how wide the result is.
    """
    return "".join(each for each in " ".join(text.split()) if not _is_invisible(each))


def _is_invisible(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or category(character) in {"Cc", "Cf", "Cs"}


def fit_to_stream(text: str, stream: TextIO) -> str:
    """Make a text fit for a stream: as it is for a pipe, else plain and in lines of whole words."""
    return (
        wrap_text(strip_control_characters(text), terminal_width(stream))
        if stream.isatty()
        else text
    )


def print_notice(text: str) -> None:
    """Say something on standard output: one line, which a terminal shows in several."""
    typer.echo(_fit_notice(text, sys.stdout))


def print_warning(text: str) -> None:
    """Say something on standard error, likewise."""
    typer.echo(_fit_notice(text, sys.stderr), err=True)


def _fit_notice(text: str, stream: TextIO) -> str:
    """Break a line between words; a command to go on with stays whole: it is to be pasted."""
    if (command := _COMMAND_BEHIND.search(text)) and stream.isatty():
        before = fit_to_stream(text[: command.start()], stream)
        return f"{before}\n  {strip_control_characters(text[command.end() :])}"
    return fit_to_stream(text, stream)
