"""The page's API with damaged threads."""

import sqlite3
from contextlib import asynccontextmanager, closing

import httpx
import pytest

from moa_graph import MoAConfig
from moa_graph.runs.store import build_run_config, open_run_store
from moa_graph.runs.stored_configs import CONFIG_KEY
from moa_graph.server.app import create_app
from moa_graph.server.service import MixtureService

MIXTURE = MoAConfig(name="quotes", layers=[{"a": "offline:lead"}], aggregator="offline:consensus")
UNREADABLE = "UPDATE checkpoints SET checkpoint = x'c1ff' WHERE thread_id = 'bad'"
LOST_NOTES = "UPDATE checkpoints SET metadata = '{' WHERE thread_id = 'bad'"
FOREIGN = f"UPDATE checkpoints SET metadata = json_remove(metadata, '$.{CONFIG_KEY}')"


@asynccontextmanager
async def opened(path, *statements):
    """Serve a thread `bad` after statements were run on its database, and another one."""
    async with open_run_store(str(path)) as store:
        graph = MIXTURE.graph().compile(checkpointer=store.checkpointer)
        for name in ("bad", "good"):
            question = {"messages": "Who? It was Ada."}
            await graph.ainvoke(question, build_run_config(name, MIXTURE))
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)
    async with open_run_store(str(path)) as store:
        app = create_app(MixtureService({MIXTURE.name: MIXTURE}, store=store))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def listed(client):
    threads = (await client.get("/api/threads")).json()["threads"]
    return {each["id"]: each["state"] for each in threads}


@pytest.mark.parametrize("damage", [[UNREADABLE], [LOST_NOTES], [UNREADABLE, LOST_NOTES]])
async def test_a_damaged_thread_can_be_deleted(damage, tmp_path):
    async with opened(tmp_path / "runs.sqlite", *damage) as client:
        assert await listed(client) == {"bad": "damaged", "good": "quoted"}
        assert (await client.get("/api/thread", params={"id": "bad"})).status_code == 409
        deleted = await client.post("/api/delete", json={"thread": "bad"})
        assert deleted.status_code == 200, deleted.text
        assert await listed(client) == {"good": "quoted"}


@pytest.mark.parametrize("damage", [[FOREIGN], [FOREIGN, UNREADABLE]])
async def test_a_thread_of_another_program_is_kept_also_where_it_is_damaged(damage, tmp_path):
    async with opened(tmp_path / "runs.sqlite", *damage) as client:
        refused = await client.post("/api/delete", json={"thread": "bad"})
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "unreadable"
        assert "bad" in await listed(client)
