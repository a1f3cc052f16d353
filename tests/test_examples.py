"""The examples run offline, are short, and do what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

SAYS = {
    "chat_app": "single: The pump stopped at nine.\nmoa: The guard closed the valve, for he",
    "nested": "layer_1_team > aggregator: The key to the mill hangs in the church.\n",
    "quickstart": "answer: ",
    "research_agent": "answer: The archive says: The bridge was built in 1862.",
    "resume": "failed: layer 2: 0 of 1 proposers answered",
    "review": "answer: The ferry leaves at eight since May.",
    "specialists": "layer_2_critic: 2 of 2 say that 91 is not prime",
    "streaming": "layer_2_bm25: ",
}

WARNS = {"resume": "layer_2_flaky failed: ConnectionError: the provider is down\n"}


@pytest.mark.process
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example):
    done = subprocess.run([sys.executable, "-W", "error", example], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SAYS[example.stem] in done.stdout
    assert done.stderr == WARNS.get(example.stem, "")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short(example):
    assert len(example.read_text().splitlines()) < 40


@pytest.mark.process
def test_resumed_example_asks_only_the_one_that_failed():
    done = subprocess.run(
        [sys.executable, ROOT / "examples/resume.py"], capture_output=True, text=True
    )
    assert done.stdout.count("steady is asked") == 1
    assert done.stdout.count("flaky is asked") == 2
