"""Who may read what a command makes: its owner, unless it holds no conversation."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_PRIVATE = 0o077
_of_user: list[int] = []


@contextmanager
def private_umask() -> Iterator[None]:
    """Make new files and folders for nobody else to read: they hold conversations."""
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
    """Make new files as the user's other programs do."""
    if not _of_user:
        yield
        return
    before = os.umask(_of_user[-1])
    try:
        yield
    finally:
        os.umask(before)
