"""A Ray cluster of the tests' own, begun as its users begin one."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRIES = 3  # Ray gives up on a node that takes half a minute to start: a busy machine is no finding
PATIENCE = 120.0  # seconds

MARK = "RAY_TMPDIR"  # in the environment of its processes

ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # else a token is written to the home directory
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",  # every process takes seconds to start
    "RAY_prestart_worker_first_driver": "0",
}
_QUIET = ("--include-dashboard=false", "--include-log-monitor=false", "--no-monitor")


@contextmanager
def ray_cluster(processors: int) -> Iterator[dict[str, str]]:
    """Start a cluster; give the environment in which its users find it."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, **ENVIRONMENT, MARK: folder}
        for _ in range(TRIES):
            log = Path(folder, "log")
            command = [
                *(Path(sys.executable).parent / "ray", "start", "--head", "--block", "--port=0"),
                *(f"--num-cpus={processors}", f"--temp-dir={folder}", *_QUIET),
            ]
            with log.open("w") as file:
                process = subprocess.Popen(
                    command, env=environment, stdout=file, stderr=file, start_new_session=True
                )
            try:
                if address := _address(process, log):
                    yield environment | {"RAY_ADDRESS": address}
                    return
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # it would take its time to stop
                process.wait()
        raise RuntimeError(log.read_text())


def workers_of(environment: dict[str, str]) -> list[int]:
    """List the processes that answer on the cluster."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_worker(entry, f"{MARK}={environment[MARK]}")
    ]


def _is_worker(entry: Path, mark: str) -> bool:
    try:
        title, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        return title.startswith(b"ray::MapWorker") and mark.encode() in environment
    except OSError:  # it has just ended
        return False


def _address(process: subprocess.Popen, log: Path) -> str | None:
    """Wait until the cluster tells its address, or ends without."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        if found := re.search(r"--address='([^']+)'", log.read_text()):
            return found[1]
        time.sleep(0.1)
    return None
