"""`moa ask` where its runs cannot be kept: it answers and warns."""

import json
import subprocess

import pytest
from full_disk import full_disk
from terminal import MOA, write_mixture

from moa_graph.runs.store import open_memory_store

SMALL_FILE_BYTES = 40_000  # the tables fit, not the run


@pytest.fixture
def config(tmp_path, server):
    return write_mixture(tmp_path / "m.toml", server, w={"reply": "final"})


@pytest.fixture(params=["/dev/null", "/proc/1/none"])
def no_home(request, monkeypatch):
    """A home that cannot be made or written, also by root."""
    monkeypatch.delenv("MOA_DB")
    monkeypatch.setenv("XDG_DATA_HOME", f"{request.param}/.local/share")


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize("words", [[], ["--thread", "new"], ["--show"]])
def test_home_that_cannot_be_used_answers_and_warns(moa, config, server, words):
    done = moa("ask", "q", "--config", config, *words)
    assert done.returncode == 0
    assert "final\n" in done.stdout
    assert done.stderr.startswith("moa: cannot use the database /")
    assert "/moa_graph/runs.sqlite: " in done.stderr
    assert done.stderr.endswith("; this run is not stored\n")
    assert done.stderr.count("\n") == 1
    assert len(server.calls) == 5


@pytest.mark.usefixtures("no_home")
def test_chat_without_a_home_remembers_what_was_said(moa, config, server):
    done = moa("chat", "--config", config, stdin="first\nsecond\n")
    assert (done.returncode, done.stdout) == (0, "final\n\nfinal\n")
    asked = [message["content"] for message in server.calls_of("a")[2].messages]
    assert asked == ["first", "final", "second"]


@pytest.mark.usefixtures("no_home")
def test_failure_without_a_home_names_no_thread_to_resume(moa, tmp_path, server):
    config = write_mixture(tmp_path / "m.toml", server, a={"always": 400}, b={"always": 400})
    done = moa("ask", "q", "--config", config)
    assert done.returncode == 1
    assert "layer_1_a" in done.stderr
    assert "moa resume" not in done.stderr


@pytest.mark.usefixtures("no_home")
def test_cache_without_a_home_is_done_without(moa, config):
    done = moa("ask", "q", "--config", config, "--cache")
    assert (done.returncode, done.stdout) == (0, "final\n")
    assert "moa: cannot use a cache: " in done.stderr


def test_database_that_was_named_must_be_usable(moa, config, server):
    done = moa("ask", "q", "--config", config, "--db", "/dev/null/x")
    assert (done.returncode, server.calls) == (1, [])


@pytest.mark.process
@pytest.mark.parametrize("command", ["ask", "chat"])
def test_full_disk_answers_and_warns_and_pays_once(command, config, server, tmp_path):
    question, options = "q" * 5000, full_disk(SMALL_FILE_BYTES) | {"capture_output": True}
    words = [command, "--config", config, "--db", tmp_path / "full.sqlite"]
    words += [question] if command == "ask" else []
    stdin = f"{question}\nand then?\n" if command == "chat" else ""
    done = subprocess.run([MOA, *words], input=stdin, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("final\n" if command == "ask" else "final\n\nfinal\n")
    assert done.stderr.count("moa: cannot write to the database: ") == 1
    assert "the run continues and is not stored" in done.stderr
    calls = 5 if command == "ask" else 10
    assert len(server.calls) == calls
    if command == "chat":
        asked = [each["content"] for each in server.calls_of("a")[2].messages]
        assert asked == [question, "final", "and then?"]


@pytest.mark.process
def test_thread_is_gone_on_with_where_the_disk_is_full(config, server, tmp_path):
    db = tmp_path / "full.sqlite"
    words = [MOA, "ask", "--config", config, "--db", db, "--thread", "sky"]
    subprocess.run([*words, "q" * 5000], check=True, capture_output=True)
    options = full_disk(db.stat().st_size) | {"capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run([*words, "and" * 5000, "--json"], **options)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["messages"]) == 4
    assert len(server.calls) == 10


async def test_store_in_memory_says_that_it_keeps_nothing():
    async with open_memory_store() as store, store.lock_thread("t"):
        assert not store.keeps_runs
