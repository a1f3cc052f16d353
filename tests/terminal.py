"""A terminal that can be looked at: tmux, with a size of its own. And mixtures to run in it."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from waiting import PATIENCE

MOA = Path(sys.executable).parent / "moa"


class Terminal:
    """A command in a terminal."""

    def __init__(self, command, *, width=80, height=24, **environment):
        if not shutil.which("tmux"):
            pytest.skip("tmux is not installed")
        self._socket = f"moa-{uuid4().hex[:8]}"
        words = ["env", *(f"{key}={value}" for key, value in environment.items()), *command]
        line = f"{shlex.join(map(str, words))}; echo exit $?; sleep 3600"
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")

    def tmux(self, *words):
        # Whatever tmux runs inside of, this one is its own.
        environment = {key: value for key, value in os.environ.items() if key != "TMUX"}
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def screen(self, *, styles=False):
        """What can be seen, and what was scrolled off."""
        words = ["-e"] if styles else []
        return self.tmux("capture-pane", "-p", "-S", "-", *words).rstrip("\n")

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def wait_for(self, text):
        """Wait until a text is seen, and give what is seen then."""
        end = time.monotonic() + PATIENCE
        while text not in (screen := self.screen()):
            assert time.monotonic() < end, f"no {text!r} in:\n{screen}"
            time.sleep(0.05)
        return screen


def write_mixture(path, server, *, layers=2, names="ab", extra="", **models):
    """Write a configuration that asks the local server, and say what its models do."""
    for name, behaviour in models.items():
        server.model(name, **behaviour)
    options = f'base_url = "{server.url}", max_retries = 0'
    agents = "".join(
        f'{name} = {{ model = "openai:{name}", {options} }}\n' for name in [*names, "w", "v"]
    )
    rows = [list(names)] * layers
    path.write_text(
        f'name = "test"\nlayers = {rows}\naggregator = "w"\n{extra}\n[agents]\n{agents}',
        encoding="utf-8",
    )
    return path
