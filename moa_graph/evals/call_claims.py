"""Which calls a process is just making, so that no other process pays for them, too."""

import hashlib
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_OFFSET_BYTES = 7  # of a hash: an offset in the file must stay below 2**63


class CallClaims:
    """Claims of calls, as locks on bytes of a file that holds nothing.

    A claim ends with the process that made it, however that ends. On Windows there are none, and
    each process makes its own calls.

    Args:
        path: The file; it is created where there is none.

    Raises:
        OSError: If it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def close(self) -> None:
        """Give all claims up."""
        self._file.close()

    def acquire(self, key: str) -> bool:
        """Claim a call; `False` if another process is making it."""
        if sys.platform == "win32":
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_offset(key))
        except BlockingIOError:
            return False
        return True

    def release(self, key: str) -> None:
        """Give a claim up."""
        if sys.platform != "win32":
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte_offset(key))


def _byte_offset(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:_OFFSET_BYTES])
