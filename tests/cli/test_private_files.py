"""What holds a conversation is its owner's alone, wherever it lies and whatever the umask is."""

import os
import stat
from pathlib import Path

import pytest
from terminal import write_mixture

from moa_graph.atomic_files import write_text
from moa_graph.evals.call_table import CallTable
from moa_graph.evals.results_file import ResultsFile
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


@pytest.mark.parametrize("keep_mode", [False, True])
def test_file_that_is_replaced_keeps_its_readers_only_if_it_is_published(keep_mode, tmp_path):
    before = {"new": None, "published": 0o644, "of_a_group": 0o664, "private": 0o600}
    for name, mode in before.items():
        if mode:
            (tmp_path / name).touch()
            (tmp_path / name).chmod(mode)
        write_text(tmp_path / name, "x", keep_mode=keep_mode)
    published, of_a_group = ("0o644", "0o664") if keep_mode else ("0o600", "0o660")
    assert modes(tmp_path) == {
        "new": "0o600",
        "published": published,
        "of_a_group": of_a_group,
        "private": "0o600",
    }


@pytest.mark.parametrize("kind", ["svg", "png", "mmd"])
def test_drawing_holds_no_conversation_and_is_like_other_files(kind, moa, tmp_path):
    os.umask(0o022)
    done = moa("draw", "-p", "offline", "--out", tmp_path / f"m.{kind}")
    assert (done.returncode, modes(tmp_path)) == (0, {f"m.{kind}": "0o644"})
    (tmp_path / f"m.{kind}").chmod(0o600)
    moa("draw", "-p", "offline", "--out", tmp_path / f"m.{kind}")
    assert modes(tmp_path) == {f"m.{kind}": "0o600"}


def test_files_of_an_evaluation_that_were_there_are_taken_from_others(tmp_path):
    answers, calls = tmp_path / "proposals.jsonl", tmp_path / "calls.sqlite"
    for path in (answers, calls):
        path.touch()
        path.chmod(0o644)
    ResultsFile(tmp_path).write({"id": 1, "error": None})
    CallTable(calls).close()
    assert set(modes(tmp_path).values()) == {"0o600"}


async def test_lock_files_do_not_pile_up(tmp_path):
    path = tmp_path / "db.sqlite"
    async with open_run_store(str(path)) as store:
        for number in range(3):
            async with store.lock_thread(f"t{number}"):
                assert len(list(path.with_name("db.sqlite.locks").iterdir())) == 1
    assert not list(path.with_name("db.sqlite.locks").iterdir())
