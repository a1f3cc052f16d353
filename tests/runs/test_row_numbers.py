"""What was written last is found, also where SQLite has no larger number for a row left."""

import sqlite3
from contextlib import closing

import pytest

from moa_graph import MoAConfig
from moa_graph.runs.store import build_run_config, open_run_store

LARGEST = 2**63 - 1


async def ask(path, question):
    """Ask as another process would, and give what was asked so far."""
    mixture = MoAConfig.load("offline")
    async with open_run_store(str(path)) as store:
        graph = mixture.graph().compile(store.checkpointer)
        config = build_run_config("t", mixture)
        await graph.ainvoke({"messages": question}, config)
        messages = (await graph.aget_state(config)).values["messages"]
    return [each.text for each in messages[::2]]


@pytest.mark.parametrize("rows", [1, 3])
async def test_numbers_of_rows_that_are_too_large_are_made_smaller(rows, tmp_path):
    path = tmp_path / "db.sqlite"
    await ask(path, "One?")
    with closing(sqlite3.connect(path)) as database:
        newest = "SELECT rowid FROM checkpoints ORDER BY rowid DESC LIMIT ?"
        for index, (number,) in enumerate(database.execute(newest, (rows,)).fetchall()):
            database.execute(
                "UPDATE checkpoints SET rowid = ? WHERE rowid = ?", (LARGEST - index, number)
            )
        database.commit()
    assert await ask(path, "Two?") == ["One?", "Two?"]
    assert await ask(path, "Three?") == ["One?", "Two?", "Three?"]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT max(rowid) FROM checkpoints").fetchone()[0] < 1000
