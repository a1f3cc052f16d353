"""Type checkers accept what is right, and refuse what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_mypy_accepts_right_uses_and_refuses_wrong_ones():
    """Strict, as `pyproject.toml` says, and with the cache that `mypy` by itself uses."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "tests/typing/user_code.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
