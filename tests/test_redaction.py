"""Keys never reach what is stored, shown or raised, on any path of failure."""

import asyncio
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from httpx2 import Request
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from openai import APIConnectionError

from moa_graph import (
    Agent,
    AggregatorError,
    QuorumError,
    create_moa,
)
from moa_graph.models.openai.clients import shared_clients
from moa_graph.redaction import redact, redacted_message
from moa_graph.runs.store import redact_password

KEY = "MARKED-9f3b77c1d2-KEY"
MOA = Path(sys.executable).parent / "moa"
FAULTS = [
    "echo key",
    "echo key in 200",
    400,
    429,
    500,
    "reset",
    "malformed",
    "no choices",
    "empty",
    "wrong type",
]


class Listener(BaseCallbackHandler):
    """Hears what a tracer hears."""

    def __init__(self):
        self.heard = []

    def on_llm_error(self, error, **more):
        self.heard += traceback.format_exception(error)

    def on_chain_error(self, error, **more):
        self.heard += traceback.format_exception(error)


@pytest.fixture(params=["name", "ChatOpenAI"])
def agents(request, server, monkeypatch):
    """Agents whose key is marked: of the project's own making, and of the user's."""
    monkeypatch.setenv("TEST_API_KEY", KEY)

    def make(name):
        if request.param == "ChatOpenAI":
            return ChatOpenAI(model=name, base_url=server.url, api_key=KEY, max_retries=0)
        return Agent(
            model=f"openai:{name}", base_url=server.url, api_key_env="TEST_API_KEY", max_retries=0
        )

    return make


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("role", ["proposer", "layer", "aggregator"])
def test_no_failure_brings_a_key_to_light(role, fault, agents, server, tmp_path, caplog):
    caplog.set_level("DEBUG", logger="openai")
    server.model("bad", always=fault)
    layer = {"proposer": ["bad", "good"], "layer": ["bad"], "aggregator": ["good"]}[role]
    writer = "bad" if role == "aggregator" else "good"
    listener, path = Listener(), tmp_path / "runs.sqlite"
    config = {"configurable": {"thread_id": "1"}, "callbacks": [listener]}
    seen = []
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_moa([[agents(name) for name in layer]], agents(writer)).compile(saver)
        for call in (graph.invoke, in_a_loop(graph)):
            config["configurable"]["thread_id"] += "1"
            try:
                seen.append(repr(call({"messages": "q"}, config)))
            except (QuorumError, AggregatorError) as error:
                seen += [str(error), repr(error), str(pickle.dumps(error))]
                seen += traceback.format_exception(error)
        seen += [repr(graph.get_state(config)), repr(graph), graph.get_graph().draw_mermaid()]
    assert any(KEY in call.headers["authorization"] for call in server.calls)
    assert KEY.encode() not in written_below(tmp_path)
    assert not [text for text in (*seen, *listener.heard, caplog.text) if KEY in text]


def test_no_key_is_stored_in_postgres(agents, server, postgres, postgres_server):
    server.model("bad", always="echo key")
    config = {"configurable": {"thread_id": "1"}}
    with PostgresSaver.from_conn_string(postgres) as saver:
        graph = create_moa([[agents("bad"), agents("good")]], agents("bad")).compile(saver)
        with pytest.raises(AggregatorError):
            graph.invoke({"messages": "q"}, config)
        rows = []
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            rows += saver.conn.execute(f"SELECT * FROM {table}").fetchall()
    written = repr(rows)
    assert "echo key" not in written
    assert "Error code: 403" in written  # the error itself is there
    assert KEY not in written


@pytest.mark.process
@pytest.mark.parametrize("fault", ["echo key", 500, "reset"])
@pytest.mark.parametrize("bad", ["a", "w"])
def test_command_line_shows_and_stores_no_key(moa, bad, fault, server, tmp_path):
    server.model(bad, always=fault)
    config = tmp_path / "mixture.toml"
    options = f'base_url = "{server.url}", api_key_env = "TEST_API_KEY", max_retries = 0'
    config.write_text(
        f"""layers = [["a", "b"]]
aggregator = "w"
[agents]
a = {{ model = "openai:a", {options} }}
b = {{ model = "openai:b", {options} }}
w = {{ model = "openai:w", {options} }}
"""
    )
    environment = {"TEST_API_KEY": KEY, "OPENAI_LOG": "debug"}
    # A process of its own, where the openai package is imported with its log on.
    ask = [MOA, "ask", "q", "--config", str(config), "--thread", "t", "--json"]
    done = subprocess.run(ask, env=os.environ | environment, capture_output=True, text=True)
    shown = done.stdout + done.stderr
    for words in ("show t", "show t --json", "threads --json", "resume t"):
        done = moa(*words.split(), env=environment)
        shown += done.stdout + done.stderr
    assert any(KEY in call.headers["authorization"] for call in server.calls)
    assert KEY not in shown
    assert KEY.encode() not in written_below(tmp_path)


def test_key_in_an_error_of_any_runnable_is_blotted_out(invoke, model, monkeypatch):
    monkeypatch.setenv("OTHER_API_KEY", KEY)

    def fail(_):
        raise ConnectionError(f"refused {KEY}; also sk-proj-abcdefgh1234 and Bearer xyz.123")

    graph = create_moa([{"a": RunnableLambda(fail), "b": model()}], model()).compile()
    error = invoke(graph, {"messages": "q"})["proposals"]["layer_1_a"]["error"]
    assert error == "ConnectionError: refused ***; also *** and Bearer ***"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:hunter22@host/db",
        "postgresql://me:hun@ter22@host/db",
        "postgresql://me:hun/ter22@host/db",
        "postgresql://host/db?user=me&password=hunter22&sslmode=require",
    ],
)
def test_password_of_a_database_is_left_out(address):
    shown = redact_password(address)
    assert "ter22" not in shown
    assert "host/db" in shown


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_key_in_a_header_of_a_response_is_blotted_out(name, server):
    server.model("bad", always="echo key")
    clients = shared_clients()
    body = {"model": "bad", "messages": []}
    headers = {name: f"Bearer {KEY}", "authorization": f"Bearer {KEY}"}
    url = f"{server.url}/chat/completions"

    async def post():
        return await clients["http_async_client"].post(url, json=body, headers=headers)

    for response in (
        clients["http_client"].post(url, json=body, headers=headers),
        asyncio.run(post()),
    ):
        assert response.status_code == 403
        assert KEY not in str(response.headers) + response.text
        assert "***" in response.text


def test_address_that_cannot_be_reached_is_told(invoke, model):
    agent = Agent(model="openai:a", base_url="http://127.0.0.1:1/v1", max_retries=0)
    graph = create_moa([{"a": agent, "b": model()}], model()).compile()
    error = invoke(graph, {"messages": "q"})["proposals"]["layer_1_a"]["error"]
    assert error.startswith("cannot reach http://127.0.0.1:1/v1: connection refused; ")


def test_address_that_cannot_be_reached_is_told_without_secrets(monkeypatch):
    monkeypatch.setenv("OTHER_API_KEY", KEY)
    request = Request("POST", f"http://me:pw@host:1/{KEY}/v1/chat/completions?token=secret")
    told = redacted_message(APIConnectionError(request=request))
    assert told == "cannot reach http://host:1/***/v1: Connection error"


def test_error_of_megabytes_is_cut():
    text = redacted_message(ValueError("x" * 5_000_000))
    assert len(text) < 1100
    assert text.endswith("… (5,000,012 characters)")


def test_ordinary_words_are_left_alone(monkeypatch):
    monkeypatch.setenv("SHORT_KEY", "on")
    text = "on the risk-free sketch of a task-oriented design"
    assert redact(text) == text


def in_a_loop(graph):
    """Call a graph's async side, on a saver that has a sync one only."""
    graph = graph.copy({"checkpointer": None})
    return lambda *arguments: asyncio.run(graph.ainvoke(*arguments))


def written_below(folder):
    """Every byte of every file."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
