"""Write files as a whole, and for nobody else to read."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PRIVATE = 0o600
"""Who may do what with a file that holds a conversation."""


def restrict_to_owner(path: Path) -> None:
    """Take a file away from all but its owner; make it if it is not there.

    Who made it writable for a group shares it with that group.

    Raises:
        OSError: If it cannot be made, or is a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK, PRIVATE)
    try:
        mode = os.fstat(descriptor).st_mode
        others = stat.S_IRWXO if mode & stat.S_IWGRP else stat.S_IRWXG | stat.S_IRWXO
        if stat.S_ISREG(mode) and mode & others:
            with suppress(OSError):  # it is another user's
                os.fchmod(descriptor, stat.S_IMODE(mode) & ~others)
    finally:
        os.close(descriptor)


@contextmanager
def replaced_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file whose content takes the place of another's at the end of the `with` block.

    Whoever reads `path` finds the old content or the new one, whole, also after a kill or a loss
    of power. If the block raises, the old content stays. A new file is its owner's alone; who may
    read one that was there stays as it was.

    Args:
        path: The file; its folder must exist.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
            with suppress(OSError):  # there is none yet, or the folder belongs to another system
                part.chmod(stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, as a whole."""
    with replaced_file(path) as file:
        file.write(text.encode("utf-8"))
