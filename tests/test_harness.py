"""The long harnesses, at a small size; their documentation has the command for the full one."""

import json
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
            ["kill.py", "--kills", "1", "--faults", "1"],
            "calls made twice although their answer was stored: 0",
        ),
        (["http_attacks.py", "--small"], "attacks that the server did not withstand: 0"),
        (["soak.py", "--runs", "24", "--at-a-time", "24"], '"tasks left": 0'),
        (["synthetic_bench.py", "--questions", "12"], "the strongest of its models alone"),
    ],
)
def test_harness_finds_nothing(words, said):
    command = [sys.executable, HARNESS / words[0], *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout


def test_scorer_is_held_against_published_verdicts(tmp_path):
    solution = {"solution": "3 + 4 = 7\nA: 7", "is_correct": True}
    row = {"question": "q", "ground_truth": "3 + 4\nA: 7", "small": solution}
    wrong = {"solution": "A: 8", "is_correct": True}
    path = tmp_path / "solutions.jsonl"
    path.write_text(json.dumps(row | {"large": wrong}))
    command = [sys.executable, HARNESS / "published_scores.py", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "judged differently: 'A: 8'",
        "solutions: 2, judged differently: 1",
    ]
