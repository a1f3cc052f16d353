"""`moa eval generate`, as a person or a script runs it, and killed at random moments."""

import hashlib
import json
import os
import pty
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from forked import Forked
from langchain_core.messages import convert_to_messages
from waiting import PATIENCE, wait_for

from moa_graph.models.request_key import request_key

MOA = Path(sys.executable).parent / "moa"
PROMPTS = [f"question {n}" for n in range(12)]
NODES = ("a", "b")


def reply(body):
    read = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:8]
    return f"{body['model']} {read}"


@pytest.fixture
def moa(evaluate):
    """Run the command to its end, in this process."""
    return partial(evaluate, "generate")


def start(words):
    """Run the command in a process of its own."""
    return Forked([MOA, "eval", "generate", *words])


@pytest.fixture
def words(tmp_path, server):
    """The words of a command over twelve prompts and two layers of models of the local server."""
    server.model("*", reply=reply)
    agents = "".join(
        f'{name} = {{ model = "openai:{name}", base_url = "{server.url}", max_retries = 0 }}\n'
        for name in (*NODES, "w")
    )
    prices = "".join(f'"openai:{name}" = [1_000_000, 1_000_000]\n' for name in (*NODES, "w"))
    layers = 'name = "test"\nlayers = [["a", "b"], ["a", "b"]]\naggregator = "w"\n'
    (tmp_path / "mixture.toml").write_text(f"{layers}[agents]\n{agents}[prices]\n{prices}")
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    return [
        *("--benchmark", tmp_path / "prompts.txt", "--config", tmp_path / "mixture.toml"),
        *("--out", tmp_path / "out", "--concurrency", 3),
    ]


def answers(folder):
    lines = (folder / "prompts" / "test" / "answers.jsonl").read_text().splitlines()
    return [json.loads(line)["answers"] for line in lines]


def key_of(call, server):
    """Work out under which key a request is stored."""
    messages = [(message["role"], message["content"]) for message in call.messages]
    target = [f"openai:{call.model}", {"base_url": server.url}, {}]
    return request_key(target, convert_to_messages(messages), sample=1)


@pytest.mark.process
def test_killed_generation_repeats_no_stored_call(moa, words, server, tmp_path):
    for name, latency in (("a", 0.02), ("b", 0.1), ("w", 0.05)):
        server.model(name, latency=latency, reply=reply)
    whole = moa(*words[:-3], tmp_path / "undisturbed", "--concurrency", 3)
    assert whole.returncode == 0, whole.stderr
    calls = len(server.calls)
    assert calls == 5 * len(PROMPTS)
    server.calls.clear()
    killed, draw, repeated = threading.Event(), random.Random(), []
    # The last is not answered before: it would be over.
    server.model(
        "w", latency=0.05, reply=reply, until=lambda: killed.is_set() or len(server.calls) < 50
    )
    for most in (5, 12, 16):
        after = len(server.calls) + draw.randint(1, most)
        process = start(words)
        wait_for(lambda after=after: len(server.calls) >= after)
        assert process.poll() is None
        process.kill()
        process.communicate()
        server.settle()
        with closing(sqlite3.connect(tmp_path / "out" / "ledger.sqlite")) as db:
            stored = {row[0] for row in db.execute("SELECT key FROM answers")}
        asked = len(server.calls)
        repeated.append((stored, asked))
    killed.set()
    done = moa(*words)
    assert done.returncode == 0, done.stderr
    made = [key_of(call, server) for call in server.calls]
    for stored, asked in repeated:
        assert stored <= set(made[:asked])
        assert not stored & set(made[asked:])
    assert len(set(made)) == calls
    assert answers(tmp_path / "out") == answers(tmp_path / "undisturbed")


def test_summary_tells_what_was_done_and_where(moa, words, tmp_path):
    done = moa(*words)
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first.startswith("12 of 12 answered; in this run 60 calls, ")
    assert second == str(tmp_path / "out" / "prompts" / "test" / "answers.jsonl")
    lines = done.stderr.splitlines()
    assert 1 < len(lines) <= 12
    assert lines[0].startswith("prompts, test: ")
    assert "left" in lines[0]
    assert "12 of 12" in lines[-1]


def test_failures_are_told_with_an_exit_code(moa, words, server):
    server.model("w", reply=reply, always=500)
    done = moa(*words, "--limit", 2)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("moa: 2 items have no answer (0: no final answer: aggregator: ")
    assert "scripted failure 500" in last
    assert "run the command again" in last
    assert "0 of 2 answered (of the benchmark's 12: partial)" in done.stdout


def test_one_failure_is_told_as_one(moa, words, server):
    server.model("w", reply=reply, always=500)
    assert "moa: 1 item has no answer (0: " in moa(*words, "--limit", 1).stderr


def test_mixture_that_costs_nothing_needs_no_money(moa, tmp_path):
    (tmp_path / "one.txt").write_text("What is it? It is a test.")
    words = ("--benchmark", tmp_path / "one.txt", "--preset", "offline", "--out", tmp_path / "out")
    done = moa(*words, "--max-cost", 0)
    assert done.returncode == 0, done.stderr


def test_spent_money_has_an_exit_code_of_its_own(moa, words, server):
    done = moa(*words, "--max-cost", 1, "--concurrency", 1)
    assert done.returncode == 3
    assert "11 items were left out: budget of $1.00 exhausted ($" in done.stderr
    assert len(server.calls) == 5


def test_limit_on_money_needs_prices(moa, words, server, tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(path.read_text().replace('"openai:b" =', '"openai:x" ='))
    done = moa(*words, "--max-cost", 1)
    assert done.returncode == 1
    assert done.stderr.startswith("moa: --max-cost: no price is known for openai:b;")
    assert not server.calls


@pytest.mark.process
def test_interrupted_generation_says_how_to_go_on(words, server):
    server.model("w", always="hang")
    process = start(words)
    wait_for(lambda: server.calls_of("w"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "run the command again to continue" in errors
    assert "Traceback" not in errors


@pytest.mark.process
def test_second_process_is_kept_out(moa, words, server):
    server.model("a", always="hang")
    process = start(words)
    try:
        wait_for(lambda: server.calls)
        done = moa(*words)
    finally:
        process.kill()
        process.communicate()
    assert done.returncode == 1
    assert done.stderr.startswith("moa: another process is working in ")


@pytest.mark.process
def test_terminal_shows_a_bar_with_tokens_and_money(words):
    master, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    command = [MOA, "eval", "generate", *map(str, words)]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    seen = b""
    while True:
        try:
            seen += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    assert process.wait() == 0
    text = seen.decode()
    assert "12/12" in text
    assert "tokens; $" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--benchmark", "nowhere"], "moa: nowhere: No such file or directory; expected a file, "),
        (["--name", "../up"], "moa: `name`='../up': expected letters, "),
        (["--preset", "offline"], "moa: give --preset or --config, not both"),
        (["--concurrency", "0"], "moa: Invalid value for '--concurrency'"),
        (["--data", "nowhere.jsonl"], "moa: nowhere.jsonl: No such file or directory"),
    ],
)
def test_mistakes_are_one_line(moa, words, more, message, server):
    done = moa(*words, *more)
    assert done.returncode != 0
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not server.calls


@pytest.fixture
def two_systems(tmp_path, server):
    """Two systems that ask `a` the same questions, and each another model besides."""
    gate = threading.Event()
    server.model("*", reply=reply, until=gate.is_set)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    commands = []
    for other in ("b", "c"):
        agents = "".join(
            f'{name} = {{ model = "openai:{name}", base_url = "{server.url}", max_retries = 0 }}\n'
            for name in ("a", other)
        )
        path = tmp_path / f"{other}.toml"
        path.write_text(
            f'name = "{other}"\nlayers = [["a", "{other}"]]\naggregator = "{other}"\n'
            f"[agents]\n{agents}"
        )
        commands.append(
            ["--benchmark", tmp_path / "prompts.txt", "--config", path, "--out", tmp_path / "out"]
        )
    return commands, gate


@pytest.mark.process
def test_two_processes_on_one_folder_pay_once_for_a_call(two_systems, server):
    commands, gate = two_systems
    with start(commands[0]) as first:
        wait_for(lambda: len(server.calls_of("a")) == 1 and server.calls_of("b"))
        with start(commands[1]) as second:
            wait_for(lambda: server.calls_of("c"))
            gate.set()
            assert (first.wait(), second.wait()) == (0, 0)
    asked = [json.dumps(call.messages) for call in server.calls_of("a")]
    assert len(asked) == len(set(asked)) == len(PROMPTS)


@pytest.mark.process
def test_call_of_a_process_that_was_killed_is_made_by_the_other(two_systems, server):
    commands, gate = two_systems
    with start(commands[0]) as first:
        wait_for(lambda: len(server.calls_of("a")) == 1 and server.calls_of("b"))
        with start(commands[1]) as second:
            wait_for(lambda: server.calls_of("c"))
            first.kill()
            gate.set()
            assert second.wait() == 0
    asked = [json.dumps(call.messages) for call in server.calls_of("a")]
    assert len(set(asked)) == len(PROMPTS)
    assert len(asked) == len(PROMPTS) + 1, "the killed process had asked for one"
