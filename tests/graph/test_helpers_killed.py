"""A process that is killed between the last layer and the answer: nothing is paid twice."""

import json
import signal
import threading

import pytest
from forked import Forked
from terminal import MOA
from waiting import wait_for

MIXTURE = """
layers = [["openai:a", "openai:b", "openai:c"]]
aggregator = {{ model = "openai:last", max_retries = 0 }}
{options}
"""
VOTE = """aggregation = "vote"
finalists = 2
voters = ["openai:v", "openai:w"]
analysis = "openai:slow"
"""
VOTE_CALLS = {**dict.fromkeys("abcvw", 1), "slow": 2, "last": 1}
WINDOWS = 'aggregation = "sequential"\nreferences_per_window = 1\n'


def reply(body):
    last = body["messages"][-1]["content"]
    if "response_format" not in body:
        return f"{body['model']} says so"
    return "3 > 1 > 2" if "Rank all" in last else json.dumps({"consensus": ["All say so."]})


@pytest.mark.process
@pytest.mark.parametrize(
    ("options", "held", "nth", "calls"),
    [
        pytest.param(
            VOTE, "slow", 1, {**dict.fromkeys("abcvw", 1), "slow": 2, "last": 1}, id="vote"
        ),
        pytest.param(WINDOWS, "last", 2, {**dict.fromkeys("abc", 1), "last": 4}, id="windows"),
    ],
)
def test_a_killed_run_goes_on_with_the_call_that_was_under_way(
    server, moa, tmp_path, monkeypatch, options, held, nth, calls
):
    released = threading.Event()
    server.model("*", reply=reply)
    server.model(
        held, reply=reply, until=lambda: released.is_set() or len(server.calls_of(held)) < nth
    )
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    path, database = tmp_path / "mixture.toml", tmp_path / "runs.sqlite"
    path.write_text(MIXTURE.format(options=options))
    words = ["ask", "Why?", "--config", path, "--thread", "t", "--db", database]
    with Forked([MOA, *words]) as process:
        wait_for(lambda: len(server.calls_of(held)) == nth)
        process.send_signal(signal.SIGKILL)
    released.set()
    done = moa("resume", "t", "--db", database)
    assert done.returncode == 0, done.stderr
    assert {name: len(server.calls_of(name)) for name in calls} == calls
