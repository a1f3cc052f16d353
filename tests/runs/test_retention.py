"""Old threads are deleted, and no other."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from typer.testing import CliRunner

from moa_graph import MoAConfig, create_moa
from moa_graph.cli.app import app
from moa_graph.runs.retention import PAUSE_S, delete_threads, find_expired_threads
from moa_graph.runs.store import build_run_config, open_run_store
from moa_graph.runs.stored_threads import read_threads


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def db(request, tmp_path, monkeypatch):
    """A database with the threads `one`, `two` and `three`, in this order."""
    where = str(tmp_path / "runs.sqlite")
    if request.param == "postgres":
        where = request.getfixturevalue("postgres")
    monkeypatch.setenv("MOA_DB", where)
    for name in ("one", "two", "three"):
        moa("ask", "Where is it? It is under the tree.", "-p", "offline", "-t", name)
    return where


def moa(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def names(db):
    async def read():
        async with open_run_store(db) as store:
            return [thread.id for thread in await read_threads(store.checkpointer)]

    return asyncio.run(read())


def age(db, thread):
    """Have a thread's checkpoints be written years ago: their names begin with the time."""
    change = "SET checkpoint_id = '1e' || substr(checkpoint_id::text, 3) WHERE thread_id = "
    if db.startswith("postgres"):
        with PostgresSaver.from_conn_string(db) as saver:
            for table in ("checkpoints", "checkpoint_writes"):
                saver.conn.execute(f"UPDATE {table} {change} %s", (thread,))
    else:
        with closing(sqlite3.connect(db)) as connection, connection:
            for table in ("checkpoints", "writes"):
                connection.execute(f"UPDATE {table} {change.replace('::text', '')} ?", (thread,))


def test_threads_beyond_so_many_are_deleted(db):
    result = moa("threads", "--prune", "--keep", 1, "--yes")
    assert "deleted 2 threads" in result.output
    assert names(db) == ["three"]


def test_threads_beyond_an_age_are_deleted(db):
    age(db, "two")
    told = json.loads(moa("threads", "--prune", "--older-than", "30d", "--yes", "--json").output)
    assert (told["found"], told["deleted"], told["in_use"]) == (["two"], ["two"], [])
    assert names(db) == ["three", "one"]


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_dry_run_shows_what_would_go_and_deletes_nothing(db):
    result = moa("threads", "--prune", "--older-than", "0m", "--keep", 2, "--dry-run")
    assert "one" in result.output
    assert "three" not in result.output
    assert "deleted" not in result.output
    assert len(names(db)) == 3


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_nothing_is_deleted_unless_somebody_says_so(db):
    result = moa("threads", "--prune", "--keep", 0)
    assert "nothing was deleted; add --yes" in str(result.exception)
    assert len(names(db)) == 3


def test_what_is_in_use_or_went_on_or_is_another_programs_stays(db, model):
    async def run():
        async with open_run_store(db) as store:
            foreign = create_moa([[model()]], model()).compile(checkpointer=store.checkpointer)
            await foreign.ainvoke({"messages": "q"}, {"configurable": {"thread_id": "foreign"}})
            old = await find_expired_threads(store.checkpointer)
            config = {"configurable": {"thread_id": "two"}}
            await foreign.aupdate_state(config, {"messages": "more"}, as_node="aggregator")
            async with open_run_store(db) as other, other.lock_thread("one"):
                return [each.id for each in old], await delete_threads(store, old)

    found, done = asyncio.run(run())
    assert found == ["three", "two", "one"]
    assert (done.deleted, done.in_use) == (["three"], ["two", "one"])
    assert set(names(db)) == {"foreign", "two", "one"}


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_the_file_becomes_smaller(db, model):
    async def fill():
        async with open_run_store(db) as store:
            graph = create_moa([[model(answers=["x" * 60_000] * 9)]] * 2, model())
            for thread in "abcd":
                config = build_run_config(thread, MoAConfig.load("offline"))
                await graph.compile(store.checkpointer).ainvoke({"messages": "y" * 50_000}, config)

    asyncio.run(fill())
    before = Path(db).stat().st_size
    result = moa("threads", "--prune", "--keep", 1, "--yes")
    assert re.search(r"deleted 6 threads, [\d.]+ MB freed", result.output)
    assert Path(db).stat().st_size < before / 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prune"], "--prune: expected --older-than 30d, --keep 100, or both"),
        (["--yes"], "go with --prune"),
        (["--prune", "--older-than", "soon"], "--older-than: 'soon'; expected a number and m, h"),
        (["--prune", "--older-than", "999999w"], "--older-than: '999999w' is before the year 1"),
    ],
)
def test_mistakes_are_one_line(words, told):
    assert told in str(moa("threads", *words).exception)


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)
def test_the_command_lines_database_writes_ahead_and_does_not_wait_for_the_disk(db):
    async def read(pragma):
        async with open_run_store(db) as store:
            return (await (await store.checkpointer.conn.execute(f"PRAGMA {pragma}")).fetchone())[0]

    assert asyncio.run(read("journal_mode")) == "wal"
    assert asyncio.run(read("synchronous")) == 1  # NORMAL


async def fill(path, threads=3):
    """Store some threads whose questions are long, and give the store's checkpointer's file."""
    mixture = MoAConfig.load("offline")
    async with open_run_store(str(path)) as store:
        graph = mixture.graph().compile(checkpointer=store.checkpointer)
        for number in range(threads):
            question = {"messages": "Where is it? It is under the tree. " + "x" * 300_000}
            await graph.ainvoke(question, build_run_config(f"t{number}", mixture))


def free_pages(database):
    return database.execute("PRAGMA freelist_count").fetchone()[0]


async def test_others_can_write_while_a_database_shrinks(tmp_path):
    path = tmp_path / "large.sqlite"
    await fill(path)
    seen, done = [], asyncio.Event()

    async def write(database):
        while not done.is_set():
            try:
                with database:
                    database.execute("INSERT INTO other VALUES (1)")
                seen.append(free_pages(database))
            except sqlite3.OperationalError:  # it is held just now
                pass
            with suppress(TimeoutError):  # who writes without a pause keeps all others out
                await asyncio.wait_for(done.wait(), PAUSE_S / 10)

    async with open_run_store(str(path)) as store:
        with closing(sqlite3.connect(path, timeout=0)) as database:
            database.execute("CREATE TABLE other (value)")
            writer = asyncio.create_task(write(database))
            result = await delete_threads(store, await find_expired_threads(store.checkpointer))
            done.set()
            await writer
            assert free_pages(database) < 50
    assert len(result.deleted) == 3
    assert result.freed > 3_000_000
    sinking = [pages for pages in seen if 100 < pages < max(seen) - 100]
    assert sinking, "nobody could write between the first step and the last"


async def test_file_of_an_older_version_can_be_made_smaller(tmp_path):
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE older (value)")  # without `auto_vacuum`
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    await fill(path)
    async with open_run_store(str(path)) as store:
        result = await delete_threads(store, await find_expired_threads(store.checkpointer))
    assert result.freed > 300_000
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert free_pages(database) == 0
