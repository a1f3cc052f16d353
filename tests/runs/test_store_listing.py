"""How threads are listed: without reading what is not shown."""

import pytest
from langchain_core.messages import HumanMessage

from moa_graph import MoAConfig
from moa_graph.runs.failover_saver import FailoverSqliteSaver
from moa_graph.runs.store import build_run_config, open_run_store
from moa_graph.runs.stored_threads import read_threads


@pytest.fixture
def asked(tmp_path):
    """Ask on some threads, and give the database."""

    async def ask(*names):
        path = str(tmp_path / "listed.sqlite")
        mixture = MoAConfig.load("offline")
        async with open_run_store(path) as store:
            graph = mixture.graph().compile(checkpointer=store.checkpointer)
            for name in names:
                question = HumanMessage(f"Who is {name}? {name} is here.")
                await graph.ainvoke({"messages": question}, build_run_config(name, mixture))
        return path

    return ask


async def test_threads_are_listed_newest_first_and_once(asked):
    path = await asked("a", "b", "a")
    async with open_run_store(path) as store:
        assert [each.id for each in await read_threads(store.checkpointer)] == ["a", "b"]
        assert [each.id for each in await read_threads(store.checkpointer, 1)] == ["a"]
        only_b = await read_threads(store.checkpointer, only=lambda each: each.id == "b")
        assert [each.title for each in only_b] == ["Who is b? b is here."]


async def test_only_the_last_checkpoint_of_a_listed_thread_is_read(asked, monkeypatch):
    path, read = await asked("a", "b", "c"), []
    get = FailoverSqliteSaver.aget_tuple

    async def count(saver, config):
        read.append(config["configurable"]["thread_id"])
        return await get(saver, config)

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(FailoverSqliteSaver, "aget_tuple", count)
    monkeypatch.setattr(FailoverSqliteSaver, "alist", refuse)
    async with open_run_store(path) as store:
        await read_threads(store.checkpointer, 2)
    assert read == ["c", "b"]
