"""A file that one process at a time holds, and that is gone when nobody does."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from moa_graph.atomic_files import PRIVATE


@contextmanager
def hold_lock_file(path: Path) -> Iterator[bool]:
    """Hold a file; give whether no other process had it.

    The file is deleted by who holds it. Whoever opened it before and holds it afterwards would hold
    a file that nobody else finds: so it counts only if the same file is there before and after.
    """
    lock = FileLock(path, mode=PRIVATE)
    try:
        _acquire(lock, path)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # where a file that is open cannot be deleted
            path.unlink()
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    while True:
        before = _inode(path)
        try:
            lock.acquire(blocking=False)
        except FileNotFoundError:  # an older filelock creates no file that was just there
            if path.is_symlink():  # to a folder that is not there
                raise
            continue
        if before is not None and before == _inode(path):
            return
        lock.release()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
