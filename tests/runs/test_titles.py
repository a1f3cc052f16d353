"""Titles of threads are kept where threads are, and go with them."""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from moa_graph.runs.retention import delete_thread
from moa_graph.runs.store import open_run_store
from moa_graph.runs.stored_threads import read_thread, read_threads
from moa_graph.runs.titles import read_titles, write_title


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def db(request, tmp_path, moa):
    """A database with the threads `one` and `two`."""
    where = str(tmp_path / "runs.sqlite")
    if request.param == "postgres":
        where = request.getfixturevalue("postgres")
    for name in ("one", "two"):
        moa("ask", "Where is it? It is here.", "-p", "offline", "-t", name, db=where)
    return where


def work(db, do):
    async def run():
        async with open_run_store(db) as store:
            return await do(store)

    return asyncio.run(run())


def rename(db, thread, title):
    work(db, lambda store: write_title(store.checkpointer, thread, title))


def titles(db):
    return work(db, lambda store: read_titles(store.checkpointer))


def test_title_is_kept_and_listed(db, moa):
    assert titles(db) == {}
    rename(db, "one", "The place")
    rename(db, "one", "A place")
    listed = work(db, lambda store: read_threads(store.checkpointer))
    assert {each.id: each.title for each in listed} == {
        "one": "A place",
        "two": "Where is it? It is here.",
    }
    assert work(db, lambda store: read_thread(store.checkpointer, "one")).title == "A place"
    told = json.loads(moa("threads", "--json", db=db).stdout)
    assert {each["thread"]: each["title"] for each in told}["one"] == "A place"
    assert "A place" in moa("threads", db=db, env={"COLUMNS": "120"}).stdout


def test_title_is_taken_back(db):
    rename(db, "one", None)
    rename(db, "one", "A place")
    rename(db, "one", None)
    assert titles(db) == {}


def test_title_goes_with_its_thread(db, moa):
    rename(db, "one", "A place")
    rename(db, "two", "Another")
    work(db, lambda store: delete_thread(store, "two"))
    assert titles(db) == {"one": "A place"}
    moa("threads", "--prune", "--keep", 0, "--yes", db=db)
    assert titles(db) == {}


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_deleted_thread_stands_nowhere_in_the_file(db, tmp_path, moa):
    moa("ask", "Where is the okapi? It is here.", "-p", "offline", "-t", "three", db=db)
    rename(db, "three", "A peculiar title")

    def read_files():
        return b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())

    async def delete(store):
        await delete_thread(store, "three")
        return read_files()

    before = read_files()
    left = work(db, delete)  # while it is open
    for words in (b"okapi", b"peculiar", b"three"):
        assert words in before
        assert words not in left
    assert b"It is here" in left


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_title_of_a_thread_that_an_older_version_deleted_goes_too(db):
    rename(db, "two", "Another")
    with closing(sqlite3.connect(db)) as connection, connection:
        for table in ("checkpoints", "writes"):
            connection.execute(f"DELETE FROM {table} WHERE thread_id = 'two'")
    work(db, lambda store: delete_thread(store, "one"))
    assert titles(db) == {}
