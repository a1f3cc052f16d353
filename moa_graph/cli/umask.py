"""Set the file mode of output files: owner only, except for drawings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_PRIVATE = 0o077
_of_user: list[int] = []


@contextmanager
def private_umask() -> Iterator[None]:
    """Create files and folders readable only by their owner, because they contain conversations."""
    before = os.umask(_PRIVATE)
    os.umask(before | _PRIVATE)
    _of_user.append(before)
    try:
        yield
    finally:
        _of_user.pop()
        os.umask(before)


@contextmanager
def umask_of_user() -> Iterator[None]:
    """Create files with the user's own umask."""
    if not _of_user:
        yield
        return
    before = os.umask(_of_user[-1])
    try:
        yield
    finally:
        os.umask(before)
