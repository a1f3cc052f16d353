"""The long harnesses, at a small size; their documentation has the command for the full one."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

HARNESS = Path(__file__).parent / "harness"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["kill.py", "--kills", "6", "--faults", "2"],
            "calls made twice although their answer was stored: 0",
        ),
        (["http_attacks.py", "--small"], "attacks that the server did not withstand: 0"),
        (["soak.py", "--runs", "64"], '"tasks left": 0'),
    ],
)
def test_harness_finds_nothing(words, said):
    command = [sys.executable, HARNESS / words[0], *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
