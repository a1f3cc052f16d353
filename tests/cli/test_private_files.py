"""What holds a conversation is its owner's alone, wherever it lies and whatever the umask is."""

import os
import stat
from pathlib import Path

import pytest
from terminal import write_mixture

from moa_graph.atomic_files import write_text
from moa_graph.runs.store import open_run_store

QUESTION = "Where is it? It is under the tree."


@pytest.fixture(autouse=True)
def _open_umask():
    """Let new files be everybody's, unless who makes them says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder):
    """Give who may do what with each file in a folder."""
    files = [each for each in Path(folder).rglob("*") if each.is_file()]
    return {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in files}


def test_files_of_a_run_are_private(moa, tmp_path, monkeypatch):
    monkeypatch.delenv("MOA_DB")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    moa("ask", QUESTION, "-p", "offline", "--cache", "--thread", "t")
    moa("ask", QUESTION, "-p", "offline", "--cache", db=tmp_path / "mine.sqlite")
    moa("report", "t", "--out", tmp_path / "report.html")
    written = modes(tmp_path)
    assert {"runs.sqlite", "mine.sqlite", "report.html"} <= written.keys()
    assert set(written.values()) == {"0o600"}


def test_files_of_a_batch_are_private(moa, tmp_path, server):
    config = write_mixture(tmp_path / "m.toml", server)
    folder = tmp_path / "out"
    folder.mkdir()
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "q"}\n')
    words = ["--config", config, "--out", folder / "a.jsonl"]
    done = moa("batch", prompts, *words, db=folder / "b.sqlite")
    assert done.returncode == 0, done.stderr
    written = modes(folder)
    assert set(written.values()) == {"0o600"}, written


async def test_files_of_an_open_database_are_private(tmp_path):
    async with open_run_store(str(tmp_path / "db.sqlite")) as store, store.lock_thread("t"):
        written = modes(tmp_path)
        assert {"db.sqlite", "db.sqlite-wal", "db.sqlite-shm"} < written.keys()
        assert set(written.values()) == {"0o600"}


@pytest.mark.parametrize(("before", "after"), [(0o644, "0o600"), (0o664, "0o660")])
async def test_database_that_was_there_is_taken_from_others(before, after, tmp_path):
    """One that its owner made writable for a group is shared with that group."""
    path = tmp_path / "db.sqlite"
    path.touch()
    path.chmod(before)
    async with open_run_store(str(path)):
        assert set(modes(tmp_path).values()) == {after}


def test_file_that_is_replaced_keeps_its_readers(tmp_path):
    new, published = tmp_path / "new.html", tmp_path / "published.html"
    published.touch()
    published.chmod(0o644)
    for path in (new, published):
        write_text(path, "x")
    assert modes(tmp_path) == {"new.html": "0o600", "published.html": "0o644"}


async def test_lock_files_do_not_pile_up(tmp_path):
    path = tmp_path / "db.sqlite"
    async with open_run_store(str(path)) as store:
        for number in range(3):
            async with store.lock_thread(f"t{number}"):
                assert len(list(path.with_name("db.sqlite.locks").iterdir())) == 1
    assert not list(path.with_name("db.sqlite.locks").iterdir())
