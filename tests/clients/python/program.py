"""Run a program as a person does in a terminal, with settings in a home of its own."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import probe

HOME = Path(os.environ["HOME"])
PATIENCE = 240  # seconds for one run of a program


def read_settings(section: str) -> str:
    """Give the settings that `docs/clients.md` shows for a client, with this server's address."""
    page = (Path(os.environ["MOA_DOCS"]) / "clients.md").read_text("utf-8")
    _, _, rest = page.partition(f"\n## {section}\n")
    found = re.search(r"^```\w+\n(.*?)^```$", rest.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    assert found, f"docs/clients.md has no settings of {section}"
    settings = found[1].replace("http://localhost:8000", probe.ROOT_URL)
    return settings.replace("my-key", probe.KEY)


def read_variables(section: str) -> dict[str, str]:
    """Give the variables that `docs/clients.md` has a person export for a client."""
    return dict(re.findall(r"export (\w+)=(.*)", read_settings(section)))


def write_setting(name: str, text: str) -> None:
    """Write a file of settings, below the home."""
    path = HOME / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def run(*command: str, **variables: str) -> str:
    """Run a program, and give what it prints.

    Raises:
        AssertionError: If it fails.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=HOME,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-1500:]}"
    return done.stdout


def report(version: tuple[str, ...], *columns: Callable[[], Any]) -> None:
    """Print the version of a program, and what became of each column."""
    said = run(*version)
    found = re.search(r"\d+(\.\d+)+\S*", said)
    print(json.dumps({"versions": {version[0]: found[0] if found else said.strip()}}))
    probe.run(*columns)
