"""`langgraph dev` with the graphs of this repository."""

import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

ROOT = Path(__file__).parent.parent
START = 300  # seconds, for a busy machine
STOP = 20
PORTS = range(15_000, 32_000)  # no system gives them to somebody else meanwhile


def _free_port() -> int:
    """Find a port: the server has to be told one."""
    for port in random.sample(PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")


class DevServer:
    """The server's process. It runs in a folder of its own, where it leaves its threads."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = ["env", *shlex.split(command), "--no-reload", "--port", str(port)]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._folder, self._environment = folder, {"PATH": path, **environment}

    def __enter__(self) -> Self:
        for name in ("langgraph.json", "graphs"):
            (self._folder / name).symlink_to(ROOT / name)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(f"{self.url}/ok", timeout=START).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"langgraph dev did not start:\n{(self._folder / 'log').read_text()}")
