"""A half-open connection to PostgreSQL ends a run with an error: it never waits for ever."""

import asyncio
import socket
import threading
from contextlib import contextmanager

import pytest
from psycopg import AsyncConnection
from waiting import PATIENCE

from moa_graph import MoAConfig
from moa_graph.runs import postgres_connection
from moa_graph.runs.postgres_connection import close_if_silent
from moa_graph.runs.store import StoreError, build_run_config, open_run_store
from moa_graph.runs.stored_threads import read_threads

pytestmark = pytest.mark.postgres


class Proxy:
    """Forwards to PostgreSQL's socket, until it stops: then it takes what comes, and is silent."""

    def __init__(self, path):
        self._path, self.silent = path, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            self._sockets += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source, target):
        try:
            while data := source.recv(65536):
                if not self.silent.is_set():
                    target.sendall(data)
        except OSError:
            pass

    def close(self):
        for each in self._sockets:
            each.close()


@pytest.fixture
def half_open(postgres, postgres_server, monkeypatch):
    """The address of a database behind a proxy, and what silences it."""
    monkeypatch.setattr(postgres_connection, "STATEMENT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(postgres_connection, "_GRACE_S", 0.0)
    proxy = Proxy(f"{postgres_server.folder}/.s.PGSQL.5432")
    name = postgres.partition("?")[0].rpartition("/")[2]
    yield f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}?connect_timeout=2", proxy.silent
    proxy.close()


@contextmanager
def refused(text):
    with pytest.raises(StoreError, match=text):
        yield


async def test_run_on_a_half_open_connection_ends(half_open):
    address, silent = half_open
    mixture = MoAConfig.load("offline")
    async with asyncio.timeout(PATIENCE):
        with refused("the database gave no answer within 1 s"):
            async with open_run_store(address) as store:
                graph = mixture.graph().compile(checkpointer=store.checkpointer)
                config = build_run_config("t", mixture)
                await graph.ainvoke({"messages": "Where? It is there."}, config)
                silent.set()
                await graph.ainvoke({"messages": "Where? It is here."}, config)


async def test_lock_and_list_on_a_half_open_connection_end(half_open):
    address, silent = half_open
    async with asyncio.timeout(PATIENCE):
        with refused("the database gave no answer"):
            async with open_run_store(address) as store:
                silent.set()
                await read_threads(store.checkpointer)
        with refused("cannot use the database"):
            async with open_run_store(address):
                pass


async def test_lock_that_cannot_be_asked_for_ends(half_open):
    address, silent = half_open
    async with asyncio.timeout(PATIENCE):
        with refused("cannot use the database"):
            async with open_run_store(address) as store:
                silent.set()
                async with store.lock_thread("t"):
                    pass


async def test_every_connection_has_keepalives_and_bounds(half_open):
    address, _ = half_open
    async with open_run_store(address) as store, store.lock_thread("t"):
        given = store.checkpointer.conn.info.get_parameters()
        assert given["keepalives_idle"] == "15"
        assert given["tcp_user_timeout"] == "30000"
        assert given["connect_timeout"] == "2"  # as the address says
        rows = await (await store.checkpointer.conn.execute("SHOW statement_timeout")).fetchall()
        assert rows == [{"statement_timeout": "1s"}]


async def test_silence_is_told_once_before_it_ends_a_run(half_open, monkeypatch):
    monkeypatch.setattr(postgres_connection, "SLOW_S", 0.1)
    address, silent = half_open
    told = []
    async with asyncio.timeout(PATIENCE):
        with refused("the database gave no answer within 1 s"):
            async with open_run_store(address, on_busy=told.append) as store:
                silent.set()
                await asyncio.gather(*(read_threads(store.checkpointer) for _ in range(3)))
    assert told == ["an answer of the database, for 0.1 s so far"]


async def test_statements_that_wait_for_one_another_are_not_silence(postgres, monkeypatch):
    """A busy connection answers one after the other: who waits longest waits beyond the limit."""
    monkeypatch.setattr(postgres_connection, "STATEMENT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(postgres_connection, "_GRACE_S", 0.0)
    connection = await AsyncConnection.connect(postgres, autocommit=True)

    async def sleep():
        with close_if_silent(connection):
            await connection.execute("SELECT pg_sleep(0.2)")

    async with connection:
        await asyncio.gather(*(sleep() for _ in range(12)))
