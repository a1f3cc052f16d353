"""The command line when databases, disks and other processes get in the way; and forks."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from forked import Forked
from full_disk import full_disk
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.func import entrypoint
from waiting import wait_for

MOA = Path(sys.executable).parent / "moa"


def start(*words, db):
    return Forked([MOA, *words, "--db", db])


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def db(request, tmp_path):
    """A database of each kind that the command takes."""
    if request.param == "sqlite":
        return str(tmp_path / "mine.sqlite")
    return request.getfixturevalue("postgres")


@pytest.fixture
def mixture(tmp_path, server):
    """Write a configuration of two layers that asks the local server."""

    def write(extra="", **models):
        for name, behaviour in models.items():
            server.model(name, **behaviour)
        options = f'base_url = "{server.url}", max_retries = 0'
        agents = "".join(
            f'{name} = {{ model = "openai:{name}", {options} }}\n' for name in ("a", "b", "w", "v")
        )
        path = tmp_path / "mixture.toml"
        layers = 'name = "test"\nlayers = [["a", "b"], ["a", "b"]]\naggregator = "w"\n'
        path.write_text(f"{layers}{extra}\n[agents]\n{agents}", encoding="utf-8")
        return path

    return write


def test_both_databases_serve_all_commands(moa, db, mixture):
    config = mixture(w={"reply": "final"})
    assert moa("ask", "q", "--config", config, "--thread", "t", db=db).stdout == "final\n"
    assert json.loads(moa("threads", "--json", db=db).stdout)[0]["thread"] == "t"
    assert "layer_2_b" in moa("show", "t", db=db).stdout
    assert moa("resume", "t", db=db).stdout == "final\n"


@pytest.mark.process
def test_two_processes_do_not_run_the_same_thread(moa, db, mixture, server):
    refused = threading.Event()
    config = mixture(a={"until": refused.is_set}, w={"reply": "final"})
    first = start("ask", "q", "--config", config, "--thread", "t", db=db)
    wait_for(lambda: server.calls_of("b"))
    for words in (["resume", "t"], ["ask", "q", "--thread", "t"]):
        second = moa(*words, db=db)
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr == "moa: thread t is being run by another process\n"
    assert "unfinished, waiting for layer_1_a" in moa("show", "t", db=db).stdout
    refused.set()
    other = moa("ask", "q", "--config", config, "--thread", "u", db=db)
    assert other.stdout == "final\n"
    assert first.communicate()[0] == "final\n"
    assert len(server.calls) == 10


@pytest.mark.process
def test_lock_of_a_killed_process_is_free(moa, db, mixture, server):
    config = mixture(a={"faults": ["hang"]}, w={"reply": "final"})
    process = start("ask", "q", "--config", config, "--thread", "t", db=db)
    wait_for(lambda: server.calls_of("a"))
    kill(process, db)
    assert moa("resume", "t", db=db).stdout == "final\n"


def kill(process, db):
    """Kill a process, and wait until its database knows: PostgreSQL then lets go of its locks."""
    process.kill()
    process.communicate()
    if db.startswith("postgres"):
        clients = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(db, autocommit=True) as database:
            wait_for(lambda: not database.execute(clients).rowcount)


@pytest.mark.parametrize("failing", ["ab", "w"])
def test_another_question_replaces_one_that_failed(failing, moa, db, mixture, server):
    config = mixture(**{name: {"faults": [500]} for name in failing})
    for name in set("abw") - set(failing):
        server.model(name)
    assert moa("ask", "failed", "--config", config, "--thread", "t", db=db).returncode == 1
    server.calls.clear()
    done = moa("ask", "another", "--thread", "t", db=db)
    assert done.returncode == 0
    assert "was never answered; this one replaces it" in done.stderr
    assert all("failed" not in str(call.messages) for call in server.calls)
    assert json.loads(moa("threads", "--json", db=db).stdout)[0]["question"] == "another"


@pytest.mark.process
def test_another_question_replaces_one_whose_process_was_killed(moa, db, mixture, server):
    config = mixture(a={"faults": ["hang"]})
    process = start("ask", "killed", "--config", config, "--thread", "t", db=db)
    wait_for(lambda: server.calls_of("a") and len(server.calls_of("b")) == 1)
    kill(process, db)
    server.settle()
    server.calls.clear()
    assert moa("ask", "another", "--thread", "t", db=db).returncode == 0
    assert all("killed" not in str(call.messages) for call in server.calls)
    assert len(server.calls) == 5


@pytest.mark.process
def test_full_disk_answers_and_the_thread_goes_on_when_there_is_room(
    moa, mixture, server, tmp_path
):
    db = tmp_path / "mine.sqlite"
    config = mixture(a={"reply": "many words " * 20_000}, w={"reply": "final"})
    assert moa("ask", "before", "--config", config, "--thread", "old", db=db).returncode == 0

    command = [MOA, "ask", "q", "--config", config, "-t", "t", "--db", db]
    done = subprocess.run(command, capture_output=True, text=True, **full_disk(150_000))
    assert (done.returncode, done.stdout) == (0, "final\n")
    assert done.stderr.count("\n") == 1
    assert "disk" in done.stderr
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert moa("show", "old", db=db).returncode == 0
    assert moa("resume", "t", db=db).stdout == "final\n"


def test_damaged_file_is_one_line_and_left_as_it_is(moa, mixture, tmp_path):
    db = tmp_path / "mine.sqlite"
    config = mixture(w={"reply": "final"})
    moa("ask", "q", "--config", config, "--thread", "t", db=db)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = db.read_bytes()
    damaged = whole[:4096] + b"\xff" * 8192 + whole[12288:]
    for content in (damaged, b"this is no database, but somebody's notes\n" * 100):
        db.write_bytes(content)
        for words in (["ask", "q", "--config", config, "-t", "t"], ["resume", "t"], ["show", "t"]):
            done = moa(*words, db=db)
            assert done.returncode == 1
            assert done.stderr.startswith("moa: ")
            assert done.stderr.count("\n") == 1
            assert "Traceback" not in done.stderr
        listed = moa("threads", db=db)
        assert "damaged" in listed.stdout or listed.stderr.count("\n") == 1
        assert db.read_bytes() == content


def test_thread_of_another_program_or_version_is_told_apart(moa, mixture, tmp_path):
    db = tmp_path / "mine.sqlite"
    config = mixture(w={"reply": "final"})
    moa("ask", "q", "--config", config, "--thread", "t", db=db)
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute(
            "UPDATE checkpoints SET metadata = json_set(metadata, '$.moa_config', '{\"v\": 2}')"
        )
    for words in (["resume", "t"], ["show", "t"]):
        done = moa(*words, db=db)
        assert done.returncode == 1
        assert "thread 't' was written by another program or version" in done.stderr
    assert moa("threads", db=db).returncode == 0


@pytest.mark.process
def test_input_of_another_program_hides_no_thread(moa, mixture, tmp_path):
    """A thread's input may be of any kind, and may wait to be taken in."""
    db = tmp_path / "mine.sqlite"
    moa("ask", "q", "--config", mixture(w={"reply": "final"}), "--thread", "t", db=db)
    with SqliteSaver.from_conn_string(str(db)) as saver:

        @entrypoint(saver)
        def shout(_: str) -> str:
            raise RuntimeError("down")

        with pytest.raises(RuntimeError, match="down"):
            shout.invoke("a text", {"configurable": {"thread_id": "other"}})
    found = json.loads(moa("threads", "--json", db=db).stdout)
    assert {thread["thread"] for thread in found} == {"t", "other"}


def test_database_that_goes_away_is_one_line_and_the_thread_goes_on_when_it_is_back(
    moa, mixture, server, postgres, postgres_server
):
    away = threading.Event()
    config = mixture(a={"until": away.is_set}, w={"reply": "final"})
    process = start("ask", "q", "--config", config, "--thread", "t", db=postgres)
    stored = "SELECT FROM checkpoint_writes WHERE channel = 'proposals'"
    with psycopg.connect(postgres) as database:
        wait_for(lambda: database.execute(stored).rowcount)
    name = urlsplit(postgres).path.removeprefix("/")
    postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )
    away.set()
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert "moa resume t" in err
    assert moa("resume", "t", db=postgres).stdout == "final\n"
    assert len(server.calls_of("b")) == 2  # one in each layer: what was stored is not asked again


def test_database_that_is_not_there_is_one_line_without_its_password(moa):
    done = moa("threads", db="postgresql://me:hunter22@127.0.0.1:1/none")
    assert done.returncode == 1
    assert done.stderr.startswith("moa: cannot use the database")
    assert done.stderr.count("\n") == 1
    assert "hunter22" not in done.stderr


class TestFork:
    """`moa fork`: from some layer on, anew."""

    @pytest.fixture
    def answered(self, moa, db, mixture, server):
        config = mixture(w={"reply": "final"}, v={"reply": "another"})
        moa("ask", "the question", "--config", config, "--thread", "old", db=db)
        server.calls.clear()
        return server

    @pytest.mark.parametrize(
        ("at", "asked"), [("aggregator", ""), ("layer_2", "ab"), ("layer_1", "aabb")]
    )
    def test_layers_before_are_not_asked_again(self, moa, at, asked, answered, db):
        done = moa("fork", "old", "--from", at, db=db)
        assert done.stdout == "final\n"
        assert "thread old is forked into " in done.stderr
        assert sorted(call.model for call in answered.calls) == [*asked, "w"]

    def test_aggregator_is_swapped(self, moa, answered, db):
        model = f"openai:v-{answered.port}"
        done = moa(
            "fork", "old", "--from", "aggregator", "--aggregator", model, db=db, env=keys(answered)
        )
        assert done.returncode == 0
        assert [call.model for call in answered.calls] == [f"v-{answered.port}"]
        prompt = answered.calls[0].messages[0]["content"]
        assert prompt.endswith("\n1. a on the question\n2. b on the question")

    def test_mistake_shows_before_anything_is_stored(self, moa, answered, db):
        model = "nosuch:thing"
        done = moa("fork", "old", "--from", "aggregator", "--aggregator", model, db=db)
        assert done.returncode == 1
        assert model in done.stderr
        threads = json.loads(moa("threads", "--json", db=db).stdout)
        assert [thread["thread"] for thread in threads] == ["old"]

    def test_proposer_is_swapped(self, moa, answered, db):
        done = moa(
            "fork", "old", "--from", "layer_2", "--model", "a=openai:new", db=db, env=keys(answered)
        )
        assert done.returncode == 0
        assert sorted(call.model for call in answered.calls) == ["b", "new", "w"]

    @pytest.mark.parametrize("name", ["a", "layer_1_a"])
    def test_proposal_is_dropped(self, moa, name, answered, db):
        moa("fork", "old", "--from", "layer_2", "--drop", name, db=db)
        prompt = answered.calls_of("b")[0].messages[0]["content"]
        assert prompt.endswith("models:\n1. b on the question")

    def test_old_thread_stays_and_the_new_one_is_whole(self, moa, answered, db):
        before = moa("show", "old", "--json", db=db).stdout
        done = moa("fork", "old", "--from", "layer_2", "--json", db=db)
        assert moa("show", "old", "--json", db=db).stdout == before
        whole = json.loads(done.stdout)
        assert whole["thread"] != "old"
        assert set(whole["proposals"]) == {"layer_1_a", "layer_1_b", "layer_2_a", "layer_2_b"}
        assert [message["role"] for message in whole["messages"]] == ["human", "ai"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["old", "--from", "layer_3"], "--from: no layer 'layer_3'; expected one of: layer_1,"),
            (["old", "--from", "x"], "expected one of: layer_1, layer_2, ..., aggregator"),
            (["nope", "--from", "layer_1"], "no thread 'nope'"),
            (["old", "--from", "layer_2", "--drop", "z"], "--drop: no proposal 'z' before that"),
            (
                ["old", "--from", "layer_2", "--drop", "a", "--drop", "b"],
                "--drop: one proposal of layer 1 must stay, got all of them",
            ),
            (
                ["old", "--from", "layer_2", "--model", "z=p:q"],
                "--model: no proposer 'z' from layer_2 on; expected",
            ),
            (
                ["old", "--from", "aggregator", "--model", "a=p:q"],
                "no proposer 'a' from aggregator on",
            ),
            (["old", "--from", "layer_2", "--model", "a"], "--model a: expected 'provider:model'"),
            (
                ["old", "--from", "layer_2", "--aggregator", "gpt"],
                "--aggregator: expected 'provider",
            ),
        ],
    )
    def test_mistakes_are_one_line(self, moa, words, message, answered, db):
        done = moa("fork", *words, db=db)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert answered.calls == []


def keys(server):
    """Have OpenAI's own name lead to the local server."""
    return os.environ | {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": server.url}
