"""Set up the standard streams and decode the arguments of the shell."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path

_STREAM_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}
_ASCII_NAMES = {"ascii", "us-ascii", "ansi_x3.4-1968", "646"}


def prepare_standard_streams() -> None:
    """Open closed standard streams on the null device, and replace characters that fail to encode.

    If the locale supports only ASCII, files and pipes get UTF-8.
    """
    for name, mode in _STREAM_MODES.items():  # in order of file descriptors
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=_choose_encoding(stream), errors="replace")


def decode_argument(text: str) -> str:
    """Return a word of the command as text, in any locale.

    Raises:
        ValueError: If its bytes are not UTF-8.
    """
    if text.isascii() or not any("\udc80" <= each <= "\udcff" for each in text):
        return text
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        printable = text.encode("utf-8", "replace").decode("utf-8")
        raise ValueError(f"{printable!r} is not UTF-8 text") from None


def _choose_encoding(stream: TextIOWrapper) -> str:
    is_ascii = stream.encoding.lower() in _ASCII_NAMES
    if is_ascii and not stream.isatty() and "PYTHONIOENCODING" not in os.environ:
        return "utf-8"
    return stream.encoding
