"""Lock files, each held by one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from moa_graph.atomic_files import PRIVATE


@contextmanager
def hold_lock_file(path: Path) -> Iterator[bool]:
    """Hold a lock file; yield whether no other process held it.

    The holder deletes the file at the end. A process that opened the file before could then lock a
    deleted file. So the lock counts only if the same file exists before and after locking.
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
        with suppress(OSError):  # systems that cannot delete an open file
            path.unlink()
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    while True:
        before = _inode(path)
        try:
            lock.acquire(blocking=False)
        except FileNotFoundError:  # older versions of filelock fail if the file was just deleted
            if path.is_symlink():  # the folder does not exist
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
