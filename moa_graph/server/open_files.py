"""How many files and connections the system lets a process have."""

import sys

if sys.platform != "win32":  # which has no such limit
    import resource

_WANTED_FILES = 16_384


def raise_open_file_limit() -> None:
    """Take as many as are granted on demand: the limit of a shell is often 1024 or 256."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_that_fit() -> int | None:
    """Give how many connections of clients leave half of the files to others; `None` if any."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(1, soft // 2)
