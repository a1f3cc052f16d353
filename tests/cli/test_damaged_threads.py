"""A damaged checkpoint names its thread and its file, and hides no other thread."""

import json
import sqlite3
from contextlib import closing

import pytest

QUESTION = "Where is it? It is under the tree."
DAMAGES = {
    "no msgpack": "UPDATE checkpoints SET checkpoint = x'c1ff' WHERE thread_id = 'bad'",
    "another kind": "UPDATE checkpoints SET checkpoint = x'01' WHERE thread_id = 'bad'",
    "cut": "UPDATE checkpoints SET checkpoint = substr(checkpoint, 1, 40) WHERE thread_id = 'bad'",
    "unknown type": "UPDATE checkpoints SET type = 'none of ours' WHERE thread_id = 'bad'",
    "metadata": "UPDATE checkpoints SET metadata = '{' WHERE thread_id = 'bad'",
}


@pytest.fixture(params=DAMAGES)
def db(request, moa, tmp_path):
    """A database with a damaged thread between two others."""
    path = tmp_path / "mine.sqlite"
    for name in ("first", "bad", "last"):
        moa("ask", QUESTION, "-p", "offline", "--thread", name, db=path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(DAMAGES[request.param])
    return path


def test_others_are_listed_beside_it(moa, db):
    listed = json.loads(moa("threads", "--json", db=db).stdout)
    states = {each["thread"]: each["state"] for each in listed}
    assert states == {"last": "quoted", "bad": "damaged", "first": "quoted"}
    assert "damaged" in moa("threads", db=db).stdout
    assert moa("show", db=db).returncode == 0  # the last one that can be read


@pytest.mark.parametrize("words", [["show", "bad"], ["resume", "bad"], ["ask", "q", "-t", "bad"]])
def test_it_is_named_with_its_file(words, moa, db):
    done = moa(*words, db=db)
    assert done.returncode == 1
    assert done.stderr.startswith(f"moa: thread 'bad' in {db} is damaged and cannot be read: ")
    assert done.stderr.count("\n") == 1


def test_it_can_be_pruned(moa, db):
    done = moa("threads", "--prune", "--keep", "1", "--yes", "--json", db=db)
    assert "first" in json.loads(done.stdout)["deleted"]
    assert json.loads(moa("threads", "--json", db=db).stdout)[0]["thread"] == "last"


@pytest.mark.parametrize("place", ["folder", "text", "/dev/null", "file/below.sqlite", "x" * 300])
@pytest.mark.parametrize("words", [["threads"], ["ask", QUESTION, "-p", "offline"]])
def test_place_that_is_no_database_is_one_line(place, words, moa, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("no database at all " * 100)
    (tmp_path / "file").touch()
    done = moa(*words, db=tmp_path / place)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert place in done.stderr
    assert "Errno" not in done.stderr
