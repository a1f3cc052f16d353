"""What a database did not take is kept in a file that is its owner's alone, whatever it is."""

import json
import os
import stat
import tempfile

import pytest
from langchain_core.messages import AIMessage

from moa_graph.runs.unsaved_writes import keep_unsaved_writes

ANSWER = [("messages", [AIMessage("paid")])]


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A database, with a temporary folder beside its own."""
    for name in ("data", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "data" / "runs.sqlite"


@pytest.fixture
def beside(database):
    return database.with_name("runs.sqlite.unsaved.jsonl")


def content(path):
    [row] = map(json.loads, path.read_text().splitlines())
    return row["value"]


def test_file_that_others_could_read_is_taken_from_them(database, beside):
    beside.touch()
    beside.chmod(0o666)
    assert keep_unsaved_writes(database, "t", ANSWER) == beside
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    assert content(beside)[0]["content"] == "paid"


def link(beside, foreign):
    beside.hardlink_to(foreign)


def symlink(beside, foreign):
    beside.symlink_to(foreign)


def pipe(beside, _):
    os.mkfifo(beside)


def folder(beside, _):
    beside.mkdir()


def socket_of_a_reader(beside, _):
    """A pipe whose reader waits for the answer."""
    os.mkfifo(beside)
    os.open(beside, os.O_RDONLY | os.O_NONBLOCK)


@pytest.mark.parametrize("squat", [link, symlink, pipe, socket_of_a_reader, folder])
def test_file_that_somebody_else_made_is_left_for_a_new_one(squat, database, beside, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.touch()
    squat(beside, foreign)
    file = keep_unsaved_writes(database, "t", ANSWER)
    assert file.parent == tmp_path / "tmp"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert content(file)[0]["content"] == "paid"
    assert foreign.read_text() == ""


def test_file_of_another_user_is_left_for_a_new_one(database, beside, monkeypatch, tmp_path):
    beside.touch()
    monkeypatch.setattr(os, "geteuid", lambda: beside.stat().st_uid + 1)
    assert keep_unsaved_writes(database, "t", ANSWER).parent == tmp_path / "tmp"
    assert beside.read_text() == ""


def test_later_writes_join_earlier_ones_in_the_temporary_folder(database, beside):
    beside.mkdir()
    earlier = keep_unsaved_writes(database, "t", ANSWER)
    assert keep_unsaved_writes(database, "t", ANSWER, earlier) == earlier
    assert len(earlier.read_text().splitlines()) == 2


def test_nothing_is_raised_where_no_folder_can_be_written(database, beside, monkeypatch):
    beside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(database))
    assert keep_unsaved_writes(database, "t", ANSWER) is None


class Odd:
    """A host's value that gives nothing of itself."""

    def model_dump(self):
        raise RuntimeError("odd")

    def __repr__(self):
        raise RuntimeError("odd")


def nested():
    """A list that holds itself."""
    value = ["paid"]
    value.append(value)
    return value


@pytest.mark.parametrize("value", [{("a", 1): "paid"}, {"a": "paid", "b": Odd()}, nested()])
def test_what_json_cannot_hold_is_kept_as_python_shows_it(value, database, beside):
    assert keep_unsaved_writes(database, "t", [("proposals", value), *ANSWER]) == beside
    odd, plain = map(json.loads, beside.read_text().splitlines())
    assert "paid" in odd["value"]
    assert plain["value"][0]["content"] == "paid"
