"""A database that another process holds: a run waits, says so, and loses no answer it paid for."""

import json
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from forked import Forked, run_forked
from terminal import MOA, write_mixture

from moa_graph.runs import failover_saver

pytestmark = pytest.mark.process

HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
database.execute("COMMIT")
"""


@contextmanager
def held(db):
    """Hold a database in a process of its own; give what lets it go."""
    words = [sys.executable, "-c", HOLD, str(db)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield lambda: process.communicate("\n")
        finally:
            process.kill()


@pytest.fixture
def config(tmp_path, server):
    return write_mixture(tmp_path / "m.toml", server, w={"reply": "final"})


@pytest.fixture
def db(moa, config, tmp_path, server):
    """A database with one thread, whose aggregator failed."""
    path = tmp_path / "busy.sqlite"
    server.model("w", reply="final", faults=[400])
    moa("ask", "q", "--config", config, "--thread", "t", db=path)
    server.calls.clear()
    return path


@pytest.fixture
def impatient(monkeypatch):
    """Let a run give up at its first try."""
    monkeypatch.setattr(failover_saver, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(failover_saver, "MAX_BUSY_S", 0.0)


@pytest.mark.parametrize("words", [["ask", "q", "--thread", "u"], ["resume", "t"]])
def test_run_waits_until_the_database_is_let_go(words, config, db, server):
    thread = words[-1]
    words = [MOA, *words, *(["--config", config] if thread == "u" else []), "--db", db]
    with held(db) as let_go:
        run = Forked(words)
        assert "waiting for another process" in run.stderr.readline()
        let_go()
        out, more = run.communicate()
    assert out == "final\n"
    assert "waiting for another process" not in more
    assert len(server.calls) == (5 if thread == "u" else 1)
    again = run_forked([MOA, "resume", thread, "--db", db])
    assert again.stdout == "final\n"


@pytest.mark.usefixtures("impatient")
def test_question_is_answered_where_the_database_is_never_let_go(moa, config, db, server):
    with held(db):
        done = moa("ask", "q", "--config", config, "--thread", "u", db=db)
    assert (done.returncode, done.stdout) == (0, "final\n")
    assert "cannot write to the database: database is locked; the run continues" in done.stderr
    assert len(server.calls) == 5


@pytest.mark.usefixtures("impatient")
def test_answer_that_the_database_never_took_is_in_a_file(moa, db, server):
    with held(db):
        done = moa("resume", "t", db=db)
    file = Path(f"{db}.unsaved.jsonl")
    assert done.returncode == 1
    assert f"the answers are in {file}" in done.stderr
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["thread"] for row in rows if "final" in str(row["value"])] == ["t"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(server.calls) == 1


@pytest.mark.usefixtures("impatient")
def test_answers_of_a_batch_that_the_database_never_took_are_in_a_file(moa, config, tmp_path):
    db, prompts, out = (tmp_path / name for name in ("b.sqlite", "p.jsonl", "out.jsonl"))
    prompts.write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    words = ["batch", prompts, "--out", out, "--config", config]
    moa(*words, "--limit", "1", db=db)
    with held(db):
        done = moa(*words, db=db)
    assert done.returncode == 1
    assert "database is locked" in done.stderr
    assert "Traceback" not in done.stderr
