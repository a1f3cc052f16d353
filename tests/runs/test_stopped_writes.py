"""A write to an SQLite file that is cancelled is finished: half of one would hold the file."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from waiting import after, take_turns, wait_for

from moa_graph.runs.store import open_run_store

CONFIG = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def write_checkpoint(saver):
    return saver.aput(CONFIG, empty_checkpoint(), {}, {})


def write_answer(saver):
    config = {"configurable": {**CONFIG["configurable"], "checkpoint_id": "1"}}
    return saver.aput_writes(config, [("messages", "paid")], "task")


@pytest.mark.parametrize(
    ("write", "table"), [(write_checkpoint, "checkpoints"), (write_answer, "writes")]
)
async def test_cancelled_write_is_finished_and_lets_others_write(write, table, tmp_path):
    path = tmp_path / "db.sqlite"
    async with open_run_store(str(path)) as store:
        saver = store.checkpointer
        writing = asyncio.create_task(write(saver))
        while not saver.conn.in_transaction:
            await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        with closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_cancelled_opening_leaves_no_thread(tmp_path, monkeypatch):
    """A thread that connects after its event loop is closed would print a traceback."""
    threads, connect, cancelled = set(threading.enumerate()), sqlite3.connect, threading.Event()
    late = after(cancelled.is_set)

    def connect_late(*args, **options):
        if threading.current_thread() not in threads:
            wait_for(late)
        return connect(*args, **options)

    async def open_store():
        async with open_run_store(str(tmp_path / "db.sqlite")):
            pass

    async def cancel():
        opening = asyncio.create_task(open_store())
        await take_turns()
        opening.cancel()
        cancelled.set()
        await asyncio.wait({opening})
        assert opening.cancelled()

    monkeypatch.setattr(sqlite3, "connect", connect_late)
    asyncio.run(cancel())
    wait_for(lambda: set(threading.enumerate()) <= threads)
