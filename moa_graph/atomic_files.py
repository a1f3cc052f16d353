"""Write files atomically, readable by their owner only."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PRIVATE = 0o600
"""Permission bits of a file that holds a conversation: only its owner reads and writes."""
_PART_NAME_LENGTH = 50  # characters; a name may have 255 bytes


def restrict_to_owner(path: Path) -> None:
    """Restrict the permissions of a file to its owner; create the file if it does not exist.

    A file that its owner made writable for a group stays readable and writable for that group.

    Raises:
        OSError: If the file cannot be created, or the path is a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK, PRIVATE)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and mode != _mode_for_owner(mode):
            with suppress(OSError):  # the file belongs to another user
                os.fchmod(descriptor, stat.S_IMODE(_mode_for_owner(mode)))
    finally:
        os.close(descriptor)


def _mode_for_owner(mode: int) -> int:
    """Return a mode without the rights of others; a group that may write keeps its rights."""
    return mode & ~(stat.S_IRWXO if mode & stat.S_IWGRP else stat.S_IRWXG | stat.S_IRWXO)


def open_own_file(path: Path, flags: int) -> int:
    """Open a file that only this user owns and can read; create it if it does not exist.

    In a folder that others can write to, a name may be a file of another user, a link to one, or a
    pipe that another user reads.

    Args:
        path: The file.
        flags: Flags of `os.open`.

    Returns:
        The file descriptor.

    Raises:
        OSError: If the file cannot be opened, or does not belong to this user alone.
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
    status = os.fstat(descriptor)
    is_own = status.st_uid == os.geteuid() and status.st_nlink == 1
    if not (is_own and stat.S_ISREG(status.st_mode)):
        raise PermissionError(f"{path}: expected a file of this user, without other links")
    os.fchmod(descriptor, PRIVATE)


@contextmanager
def replaced_file(path: Path, *, keep_mode: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces another one at the end of the `with` block.

    Readers of `path` find either the complete old content or the complete new content, also after
    a kill or a loss of power. If the block raises, the old content stays. Only the owner can read
    the file, and a group that may write to the old one.

    Args:
        path: The file; its folder must exist.
        keep_mode: Whether the new file keeps the read permissions of the old one.
    """
    prefix = f"{path.name[:_PART_NAME_LENGTH]}."
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with suppress(OSError):  # there is no old file, or the file system does not support it
                mode = stat.S_IMODE(path.stat().st_mode)
                os.fchmod(file.fileno(), mode if keep_mode else _mode_for_owner(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, keep_mode: bool = False) -> None:
    """Write a text as UTF-8 atomically, as `replaced_file` does."""
    with replaced_file(path, keep_mode=keep_mode) as file:
        file.write(text.encode("utf-8"))
