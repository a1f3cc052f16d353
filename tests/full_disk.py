"""A limit on the size of files, which stands in for the end of the disk."""

import os
import resource
import signal
from typing import Any


def full_disk(size: int) -> dict[str, Any]:
    """Give the options of a process that can write no file beyond `size` bytes."""

    def limit_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    # Python would cut its bytecode files as well, and all later processes fail at these.
    return {"preexec_fn": limit_files, "env": os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}}
