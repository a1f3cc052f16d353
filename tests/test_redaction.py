"""Keys never reach what is stored, shown or raised, on any path of failure."""

import asyncio
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
from httpx2 import Request, Response
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from openai import APIConnectionError, AuthenticationError
from pydantic import SecretStr

from moa_graph import Agent, AggregatorError, QuorumError, create_moa
from moa_graph.models.openai.clients import shared_clients
from moa_graph.redaction import find_keys, redact, redacted_message, without_keys
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
@pytest.mark.parametrize(("bad", "fault"), [("a", "echo key"), ("w", "echo key"), ("w", 500)])
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


@pytest.mark.parametrize(
    "name",
    ["X_KEY", "x_key", "HF_TOKEN", "A_SECRET", "DB_PASSWORD", "CREDENTIAL", "MY_CREDENTIALS"],
)
def test_variable_is_known_for_a_key_by_the_end_of_its_name(name, monkeypatch):
    monkeypatch.setenv(name, "hunter22")
    monkeypatch.setenv(f"{name}BOARD", "a layout")
    assert redact("hunter22 is no part of a layout") == "*** is no part of a layout"


def test_key_that_begins_with_another_is_blotted_out_whole():
    keys = ["abcdef", "abcdef-123456", "abcde", ""]
    assert redact("abcdef-123456, abcdef, abcde", *keys) == "***, ***, abcde"


@pytest.mark.parametrize("prefix", ["sk-", "pk_", "rk-", "gsk_", "xai-", "tgp_", "SK-"])
def test_text_that_looks_like_a_key_is_blotted_out(prefix):
    assert redact(f"({prefix}abcd-1234)") == "(***)"
    assert redact(f"{prefix}abcd123") == f"{prefix}abcd123"
    assert redact(f"a{prefix}abcd-1234") == f"a{prefix}abcd-1234"


def test_keys_among_options_are_known_by_their_names():
    options = {
        "api_key": SecretStr(KEY),
        "x_token": "two",
        "secret": 3,
        "password": None,
        "name": "no",
    }
    assert find_keys(options) == [KEY, "two"]


def test_errors_are_told_in_a_line():
    assert redacted_message(ValueError("no\n  more ")) == "ValueError: no more"
    assert redacted_message(ValueError()) == "ValueError"
    assert redacted_message(ValueError(f"no {KEY}, no hunter22"), KEY, "hunter22") == (
        "ValueError: no ***, no ***"
    )


def test_error_of_the_package_stands_for_itself():
    request = Request("POST", "http://host:1/v1/chat/completions")
    error = QuorumError(1, {"layer_1_a": f"refused {KEY}"}, asked=1, needed=1)
    error.__cause__ = APIConnectionError(request=request)
    assert redacted_message(error, KEY) == (
        "layer 1: 0 of 1 proposers answered, 1 required: layer_1_a: refused ***"
    )


@pytest.mark.parametrize(
    ("length", "told"), [(1000, "x" * 1000), (1001, f"{'x' * 1000}… (1,001 characters)")]
)
def test_error_may_have_a_thousand_characters(length, told):
    error = ValueError("x" * (length - len("ValueError: ")))
    assert redacted_message(error) == told.replace("x" * 12, "ValueError: ", 1)


def test_error_is_read_for_keys_before_it_is_cut():
    error = ValueError("x" * 985 + KEY + "x" * 99_000)
    assert redacted_message(error, KEY) == (
        f"ValueError: {'x' * 985}***… ({len(str(error)) + 12:,} characters)"
    )


def test_error_without_a_key_is_the_same():
    error = ValueError("no")
    error.__cause__ = OSError("nor here")
    assert without_keys(error, KEY) is error


class RefusedError(ValueError):
    """What a package raises."""


class UncopiableError(RefusedError):
    """An error that is made of something else than its text."""

    def __new__(cls, *, request):
        return super().__new__(cls, request)

    def __init__(self, *, request):
        super().__init__(request)


class TellingError(RefusedError):
    """An error whose text has the key whatever it is made of."""

    def __str__(self):
        return f"refused {KEY}"


def test_error_with_a_key_is_copied_without_it():
    error = RefusedError(f"refused {KEY}", {"key": [KEY, 1]}, (KEY, None))
    error.body, error.code, error.owner = {"said": (f"no {KEY}",)}, 401, SimpleNamespace(key=KEY)
    error.__cause__ = OSError("a cause")
    copied = without_keys(error, KEY)
    assert type(copied) is RefusedError
    assert copied.args == ("refused ***", {"key": ["***", 1]}, ("***", None))
    assert (copied.body, copied.code) == ({"said": ("no ***",)}, 401)
    assert copied.owner == "namespace(key='***')"
    assert copied.__cause__ is None
    assert str(error.args[0]) == f"refused {KEY}"  # the error itself is as it was


def test_error_with_a_key_in_an_attribute_alone_is_copied():
    error = RefusedError("refused")
    error.body = {"said": KEY}
    assert without_keys(error, KEY).body == {"said": "***"}


def test_error_whose_cause_has_a_key_goes_on_without_it():
    error = RefusedError("refused")
    error.__cause__ = OSError(f"no {KEY}")
    copied = without_keys(error, KEY)
    assert (type(copied), copied.args, copied.__cause__) == (RefusedError, ("refused",), None)


def test_error_whose_text_does_not_say_what_it_holds_is_copied():
    class QuietError(Exception):
        def __str__(self):
            return "refused"

    assert without_keys(QuietError(KEY), KEY).args == ("***",)


@pytest.mark.parametrize("error", [UncopiableError(request=f"refused {KEY}"), TellingError()])
def test_error_that_cannot_be_copied_becomes_one_of_the_next_type_above(error):
    copied = without_keys(error, KEY)
    assert (type(copied), copied.args) == (RefusedError, ("refused ***",))


def test_error_of_no_known_type_becomes_an_exception():
    class OpaqueError(Exception):
        def __str__(self):
            return f"refused {KEY}"

    copied = without_keys(OpaqueError(), KEY)
    assert (type(copied), copied.args) == (Exception, ("refused ***",))


def test_request_and_response_of_an_error_are_copied_without_keys():
    request = Request("POST", f"http://host/{KEY}", headers={"authorization": "Basic b25l"})
    said = {"x-key": KEY, "content-encoding": "identity", "retry-after": "7"}
    response = Response(401, headers=said, text=f"refused {KEY}", request=request)
    copied = without_keys(AuthenticationError("no", response=response, body=None), KEY)
    assert type(copied) is AuthenticationError
    for each in (copied.request, copied.response.request):
        assert (each.method, str(each.url)) == ("POST", "http://host/***")
        assert "authorization" not in each.headers
    assert (copied.response.status_code, copied.response.text) == (401, "refused ***")
    assert copied.response.headers["x-key"] == "***"
    assert copied.response.headers["retry-after"] == "7"
    assert "content-encoding" not in copied.response.headers


def test_key_in_the_headers_of_a_request_alone_has_the_error_copied():
    request = Request("POST", "http://host/v1", headers={"x-own": KEY})
    error = APIConnectionError(request=request)
    copied = without_keys(error, KEY)
    assert type(copied) is APIConnectionError
    assert copied is not error
    assert "x-own" not in copied.request.headers


def test_error_whose_text_fails_is_passed_on():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    error = MuteError()
    assert without_keys(error, KEY) is error


def in_a_loop(graph):
    """Call a graph's async side, on a saver that has a sync one only."""
    graph = graph.copy({"checkpointer": None})
    return lambda *arguments: asyncio.run(graph.ainvoke(*arguments))


def written_below(folder):
    """Every byte of every file."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
