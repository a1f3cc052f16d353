"""A clock that goes back between two commands hides nothing that was written."""

import json
import sqlite3
from contextlib import closing

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.postgres import PostgresSaver
from terminal import write_mixture
from turned_clock import DAY, turn_clock

from moa_graph import create_moa


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def db(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "mine.sqlite")
    return request.getfixturevalue("postgres")


@pytest.fixture
def config(tmp_path, server):
    """A mixture whose aggregator fails at first: the thread is left unanswered."""
    return write_mixture(tmp_path / "m.toml", server, w={"reply": "final", "faults": [400]})


def test_resumed_run_prints_the_answer_and_pays_once(moa, config, db, server, monkeypatch):
    assert moa("ask", "the question", "--config", config, "--thread", "t", db=db).returncode == 1
    turn_clock(monkeypatch, -DAY)
    done = moa("resume", "t", db=db)
    assert (done.returncode, done.stdout) == (0, "final\n")
    paid = len(server.calls)
    turn_clock(monkeypatch, -2 * DAY)
    again = moa("resume", "t", db=db)
    assert (again.returncode, again.stdout) == (0, "final\n")
    assert len(server.calls) == paid
    assert json.loads(moa("threads", "--json", db=db).stdout)[0]["state"] == "answered"
    assert "final" in moa("show", "t", db=db).stdout


def test_next_question_reads_the_answer_before(moa, config, db, server, monkeypatch):
    moa("ask", "first", "--config", config, "--thread", "t", db=db)
    moa("resume", "t", db=db)
    for number in (1, 2):
        turn_clock(monkeypatch, -number * DAY)
        done = moa("ask", f"more {number}", "--thread", "t", db=db)
        assert (done.returncode, done.stdout) == (0, "final\n")
    asked = [each["content"] for each in server.calls_of("a")[-2].messages]
    assert asked == ["first", "final", "more 1", "final", "more 2"]


def test_killed_layer_is_resumed_whole(moa, config, db, server, monkeypatch):
    """The proposals are put together from the checkpoints before."""
    for number in range(3):
        server.model("w", reply="final", faults=[400])
        assert moa("ask", "q", "--config", config, "--thread", "t", db=db).returncode == 1
        turn_clock(monkeypatch, -(number + 1) * DAY)
        server.calls.clear()
        done = moa("resume", "t", "--json", db=db)
        assert len(server.calls) == 1
        assert len(json.loads(done.stdout)["proposals"]) == 4


def test_thread_that_was_written_last_is_kept(moa, config, db, monkeypatch):
    moa("ask", "q", "--config", config, "--thread", "old", db=db)
    turn_clock(monkeypatch, -DAY)
    moa("ask", "q", "--config", config, "--thread", "new", db=db)
    pruned = moa("threads", "--prune", "--keep", "1", "--yes", "--json", db=db)
    assert json.loads(pruned.stdout)["deleted"] == ["old"]


@pytest.mark.postgres
def test_what_another_program_wrote_last_is_the_newest(moa, config, postgres, monkeypatch):
    """Also where it knows nothing of the order, as LangGraph's own checkpointer."""
    moa("ask", "first", "--config", config, "--thread", "t", db=postgres)
    moa("resume", "t", db=postgres)
    turn_clock(monkeypatch, -DAY)
    graph = create_moa([["offline:lead"]], "offline:consensus")
    with PostgresSaver.from_conn_string(postgres) as saver:
        state = {"messages": [AIMessage("from another program")]}
        graph.compile(saver).update_state({"configurable": {"thread_id": "t"}}, state)
    assert "was written by another program" in moa("show", "t", db=postgres).stderr


@pytest.mark.postgres
def test_threads_of_an_older_version_keep_their_order(moa, config, postgres, server):
    """Before a database was opened by this version, its rows had no numbers."""
    moa("ask", "first", "--config", config, "--thread", "t", db=postgres)
    with psycopg.connect(postgres, autocommit=True) as database:
        database.execute("ALTER TABLE checkpoints DROP COLUMN moa_insertion_number")
    assert moa("resume", "t", db=postgres).stdout == "final\n"
    assert moa("ask", "second", "--thread", "t", db=postgres).stdout == "final\n"
    asked = [each["content"] for each in server.calls_of("a")[-2].messages]
    assert asked == ["first", "final", "second"]


def test_question_is_never_printed_as_the_answer(moa, config, tmp_path, server):
    """A trigger stands in for whatever hides what a run wrote last."""
    server.model("w", reply="final")
    db = tmp_path / "hiding.sqlite"
    moa("ask", "q", "--config", config, "--thread", "t", db=db)
    with closing(sqlite3.connect(db)) as database, database:
        database.execute(
            "CREATE TRIGGER hide AFTER INSERT ON checkpoints "
            "WHEN json_extract(CAST(NEW.metadata AS TEXT), '$.step') >= 5 "
            "BEGIN DELETE FROM checkpoints WHERE rowid = NEW.rowid; END"
        )
        database.execute(
            "CREATE TRIGGER hide_writes AFTER INSERT ON writes WHEN NEW.channel = 'messages' "
            "BEGIN DELETE FROM writes WHERE rowid = NEW.rowid; END"
        )
    for words in (["--thread", "u"], ["--thread", "v", "--json"], ["--thread", "w", "--show"]):
        done = moa("ask", "the question", "--config", config, *words, db=db)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"thread {words[1]} has no answer" in done.stderr
        assert f"continue with: moa resume {words[1]}" in done.stderr
