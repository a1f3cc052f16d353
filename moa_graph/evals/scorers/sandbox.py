"""The script that runs untrusted code and its tests for the scorer `code`.

The code cannot use more than its seconds of processor time, 1 GiB of memory and files of 1 MiB. It
has no access to the environment of the parent process, to other processes, to the network (by a
network namespace on Linux, if the system allows one, and by an audit hook everywhere), and to files
outside of its folder and Python.

This is not a security boundary. The audit hook is in the same process as the code, and according to
Python's documentation, malicious code can bypass it. Run `moa eval` in a container or a virtual
machine if you do not trust the code.
"""

import ctypes
import json
import math
import os
import resource
import sys
from typing import Any, NoReturn

_FILE_BYTES, _FILES = 1 << 20, 64
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # flag of Linux's unshare()
_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.kill",
    "os.putenv",
    "ctypes.",
    "signal.pthread_kill",
    "webbrowser.",
    "winreg.",
)
_CHANGES = (
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink"),
    *("os.truncate", "os.chmod", "os.chown", "os.utime"),
)


def main() -> None:
    """Read the code, restrict this process, run the code, and print the password after success."""
    task = json.load(sys.stdin)
    report = int(sys.argv[1])
    _bound_process(math.ceil(task["seconds"]), int(task["memory"]))
    _leave_network()
    _add_guard()
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(task["code"], "answer", "exec"), names)  # noqa: S102  # that is what it is for
    exec(compile(task["tests"], "tests", "exec"), names)  # noqa: S102
    os.write(report, task["password"].encode())


def _bound_process(seconds: int, memory: int) -> None:
    bounds = {
        # The soft limit sends a signal; code that continues until the hard limit is killed.
        resource.RLIMIT_CPU: (seconds, seconds + 2),
        resource.RLIMIT_AS: (memory, memory),
        resource.RLIMIT_FSIZE: (_FILE_BYTES, _FILE_BYTES),
        resource.RLIMIT_NOFILE: (_FILES, _FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        try:
            resource.setrlimit(kind, (min(bound[0], most), min(bound[1], most)))
        except (OSError, ValueError):  # macOS rejects some
            continue


def _leave_network() -> None:
    """Move to a network namespace without connections, if the system allows it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)


def _add_guard() -> None:
    """Add an audit hook that rejects operations that the code does not need."""
    roots = [os.getcwd(), sys.prefix, sys.base_prefix, "/usr/share/zoneinfo"]  # noqa: PTH109
    allowed = tuple(os.path.realpath(each) + os.sep for each in roots)
    devices, own = ("/dev/null", "/dev/urandom"), os.path.realpath(os.getcwd()) + os.sep  # noqa: PTH109
    real_path, separator, write_flags = os.path.realpath, os.sep, os.O_WRONLY | os.O_RDWR
    forbidden, changes = _FORBIDDEN, _CHANGES

    def is_inside(path: Any, folders: tuple[str, ...]) -> bool:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None
        if text is None or text in devices:
            return True
        return (real_path(text) + separator).startswith(folders)

    def guard(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(forbidden):
            refuse(event)
        if event == "open":
            path, _, flags = args
            writes = isinstance(flags, int) and flags & write_flags
            if not is_inside(path, (own,) if writes else allowed):
                refuse(f"open {path!r}")
        elif event in changes and not all(is_inside(each, (own,)) for each in args[:2]):
            refuse(event)

    def refuse(what: str) -> NoReturn:
        raise PermissionError(f"not allowed here: {what}")

    sys.addaudithook(guard)


if __name__ == "__main__":
    main()
