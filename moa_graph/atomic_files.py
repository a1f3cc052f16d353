"""Write files as a whole, and for nobody else to read."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PRIVATE = 0o600
"""Who may do what with a file that holds a conversation."""
_PART_NAME_LENGTH = 50  # characters; a name may have 255 bytes


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


def open_own_file(path: Path, flags: int) -> int:
    """Open a file that nobody else made, holds or can read; make it if it is not there.

    In a folder that others can write to, a name may be another user's file, a link to one, or a
    pipe whose reader they are.

    Args:
        path: The file.
        flags: Those of `os.open`.

    Returns:
        Its descriptor.

    Raises:
        OSError: If it cannot be opened, or is not the user's alone.
    """
    safely = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags | safely, PRIVATE)
    try:
        _make_private(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_private(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    is_own = found.st_uid == os.geteuid() and found.st_nlink == 1
    if not (is_own and stat.S_ISREG(found.st_mode)):
        raise PermissionError(f"{path}: expected a file of this user, without other links")
    os.fchmod(descriptor, PRIVATE)


@contextmanager
def replaced_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file whose content takes the place of another's at the end of the `with` block.

    Whoever reads `path` finds the old content or the new one, whole, also after a kill or a loss
    of power. If the block raises, the old content stays. A new file is its owner's alone; who may
    read one that was there stays as it was.

    Args:
        path: The file; its folder must exist.
    """
    prefix = f"{path.name[:_PART_NAME_LENGTH]}."
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with suppress(OSError):  # there is none yet, or the folder belongs to another system
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
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
