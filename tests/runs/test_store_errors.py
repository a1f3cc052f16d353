"""Whose failure it is: the database's, or that of a run that uses it."""

import sqlite3

import pytest

from moa_graph.runs.store import StoreError, open_run_store


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(111, "Connection refused"), TimeoutError("no answer"), OSError(28, "")],
)
async def test_failure_of_a_run_is_not_told_as_one_of_the_database(error, tmp_path):
    with pytest.raises(type(error)) as caught:
        async with open_run_store(str(tmp_path / "runs.sqlite")):
            raise error
    assert caught.value is error


async def test_failure_of_the_database_in_a_run_is_told_as_such(tmp_path):
    path = tmp_path / "runs.sqlite"
    with pytest.raises(StoreError, match=r"cannot use the database .*: no such table: missing"):
        async with open_run_store(str(path)) as store:
            await store.checkpointer.conn.execute("SELECT * FROM missing")


async def test_database_that_cannot_be_opened_is_told_as_such(tmp_path):
    with pytest.raises(StoreError, match="cannot use the database") as caught:
        async with open_run_store(str(tmp_path)):
            raise AssertionError
    assert isinstance(caught.value.__cause__, (OSError, sqlite3.Error))


async def test_thread_that_cannot_be_locked_is_told_as_such(tmp_path):
    path = tmp_path / "runs.sqlite"
    (tmp_path / "runs.sqlite.locks").write_text("a file where a folder is expected")
    with pytest.raises(StoreError, match=r"cannot use the database .*: File exists"):
        async with open_run_store(str(path)) as store, store.lock_thread("t"):
            raise AssertionError
