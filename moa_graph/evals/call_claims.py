"""Claims on calls in progress, so that two processes do not pay for the same call."""

import hashlib
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_OFFSET_BYTES = 7  # bytes of a hash: offsets in the file must be below 2**63


class CallClaims:
    """Claims of calls, as locks on byte ranges of an empty file.

    The claims of a process end with it. On Windows there are none, and each process makes its own
    calls.

    Args:
        path: The file; it is created if missing.

    Raises:
        OSError: If it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def close(self) -> None:
        """Release all claims."""
        self._file.close()

    def acquire(self, key: str) -> bool:
        """Claim a call; return `False` if another process is making it."""
        if sys.platform == "win32":
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_offset(key))
        except BlockingIOError:
            return False
        return True

    def release(self, key: str) -> None:
        """Release a claim."""
        if sys.platform != "win32":
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte_offset(key))


def _byte_offset(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:_OFFSET_BYTES])
