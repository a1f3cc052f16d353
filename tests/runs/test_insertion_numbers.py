"""The column of insertion numbers is added only where it disturbs nobody; runs go on without."""

import asyncio

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from turned_clock import DAY, turn_clock
from waiting import PATIENCE

from moa_graph import ClockError, MoAConfig
from moa_graph.cli.forgiving_store import open_forgiving_store
from moa_graph.runs.retention import find_expired_threads
from moa_graph.runs.store import build_run_config, open_run_store
from moa_graph.runs.stored_threads import read_threads

pytestmark = pytest.mark.postgres

COLUMN = "moa_insertion_number"


def has_column(database):
    query = "SELECT count(*) FROM information_schema.columns WHERE column_name = %s"
    with psycopg.connect(database) as connection:
        return connection.execute(query, (COLUMN,)).fetchone() == (1,)


@pytest.fixture
def of_another_role(postgres):
    """A database whose tables LangGraph made for another role, as seen by one that only writes."""
    name = f"guest_of_{postgres.partition('?')[0].rpartition('/')[2]}"
    with PostgresSaver.from_conn_string(postgres) as saver:
        saver.setup()
    with psycopg.connect(postgres, autocommit=True) as database:
        database.execute(f"CREATE ROLE {name} LOGIN")
        database.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"
        )
    yield postgres.replace("//postgres@", f"//{name}@")
    with psycopg.connect(postgres, autocommit=True) as database:
        database.execute(f"DROP OWNED BY {name}")
        database.execute(f"DROP ROLE {name}")


async def ask(store, question, thread="t"):
    mixture = MoAConfig.load("offline")
    graph = mixture.graph().compile(checkpointer=store.checkpointer)
    await graph.ainvoke({"messages": question}, build_run_config(thread, mixture))


async def check_that_runs_are_kept(store):
    await ask(store, "Where? It is here.")
    await ask(store, "Where? It is there.")
    await ask(store, "Where? It is gone.", "u")
    threads = await read_threads(store.checkpointer)
    assert [(each.id, len(each.messages)) for each in threads] == [("u", 2), ("t", 4)]
    assert [each.id for each in await find_expired_threads(store.checkpointer)] == ["u", "t"]
    config = {"configurable": {"thread_id": "t"}}
    steps = [each async for each in store.checkpointer.alist(config)]
    before = [each async for each in store.checkpointer.alist(config, before=steps[0].config)]
    assert [each.config for each in before] == [each.config for each in steps[1:]]


async def test_role_that_may_not_alter_the_table_orders_by_names(of_another_role, capsys):
    async with open_forgiving_store(of_another_role) as store:
        await check_that_runs_are_kept(store)
    assert not has_column(of_another_role)
    assert f"cannot add the column {COLUMN}" in capsys.readouterr().err


async def test_clock_that_went_back_is_refused_without_the_column(of_another_role, monkeypatch):
    async with open_run_store(of_another_role) as store:
        await ask(store, "Where? It is here.")
        turn_clock(monkeypatch, -DAY)
        with pytest.raises(ClockError):
            await ask(store, "Where? It is there.")


async def test_role_uses_a_column_that_another_has_added(of_another_role, postgres, capsys):
    async with open_run_store(postgres):
        assert has_column(postgres)
    async with open_forgiving_store(of_another_role) as store:
        await check_that_runs_are_kept(store)
        assert store.checkpointer.orders_by_insertion
    assert capsys.readouterr().err == ""


async def test_table_that_others_use_is_left_as_it_is(postgres, capsys):
    with PostgresSaver.from_conn_string(postgres) as saver:
        saver.setup()
    with psycopg.connect(postgres) as other:
        other.execute("SELECT count(*) FROM checkpoints")
        async with asyncio.timeout(PATIENCE), open_forgiving_store(postgres) as store:
            await check_that_runs_are_kept(store)
    assert "another program uses the table" in capsys.readouterr().err
    async with open_run_store(postgres) as store:
        assert has_column(postgres)
        assert [each.id for each in await read_threads(store.checkpointer)] == ["u", "t"]
