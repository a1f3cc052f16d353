"""The examples run offline, are short, and do what they say."""

import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_forked

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

SAYS = {
    "adaptive": "1 of 3 layers (agreement 1.00, at least 0.9): The ferry leaves at nine.\n3 of 3",
    "chat_app": "single: The pump stopped at nine.\nmoa: The guard closed the valve, for he",
    "decisions": "  ranking: ['layer_2_",
    "nested": "layer_1_team > aggregator: The key to the mill hangs in the church.\n",
    "panel_agent": "proposals reused: False\nproposals reused: True\nanswer: The archive says: ",
    "quickstart": "answer: ",
    "research_agent": "answer: The archive says: The bridge was built in 1862.",
    "resume": "failed: layer 2: 0 of 1 proposers answered",
    "review": "answer: The ferry leaves at eight since May.",
    "specialists": "layer_2_critic: 2 of 2 say that 91 is not prime",
    "streaming": "layer_2_bm25: ",
}

WARNS = {"resume": "layer_2_flaky failed: ConnectionError: the provider is down\n"}


RUN = """
import runpy, sys, warnings
warnings.simplefilter("error")
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.process
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example):
    done = run_forked([sys.executable, "-c", RUN, example])
    assert done.returncode == 0, done.stderr
    assert SAYS[example.stem] in done.stdout
    assert done.stderr == WARNS.get(example.stem, "")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short(example):
    assert len(example.read_text().splitlines()) < 40


@pytest.mark.process
def test_first_example_runs_in_a_fresh_process_without_a_warning():
    command = [sys.executable, "-W", "error", ROOT / "examples/quickstart.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert SAYS["quickstart"] in done.stdout


@pytest.mark.process
def test_resumed_example_asks_only_the_one_that_failed():
    done = run_forked([sys.executable, "-c", RUN, ROOT / "examples/resume.py"])
    assert done.stdout.count("steady is called") == 1
    assert done.stdout.count("flaky is called") == 2
