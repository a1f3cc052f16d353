"""The limit of open files of this process."""

import sys

if sys.platform != "win32":  # Windows has no such limit
    import resource

_WANTED_FILES = 16_384


def raise_open_file_limit() -> None:
    """Raise the limit to the maximum: a shell often sets 1024 or 256."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def connections_that_fit() -> int | None:
    """Return how many connections leave half of the files free; `None` for no limit."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(1, soft // 2)
