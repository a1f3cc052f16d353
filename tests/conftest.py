"""What the tests share."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fakes import FakeModel
from hypothesis import HealthCheck, settings
from langchain_core.runnables import Runnable
from langchain_openai.chat_models import _client_utils
from server import ChatServer

from moa_graph.models import traits
from moa_graph.models.openai import normalization

pytest_plugins = ["expected_skips", "few_cases", "pytester"]

os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGGRAPH_CLI_NO_ANALYTICS"] = "1"
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
# Every client that is not shared reads the certificates of all authorities, for hosts that no test
# asks: it takes 20 ms.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "data" / "certificate.pem")

# A job in the background of a script ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no finding.
settings.register_profile(
    "calm", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("calm")

Call = Callable[..., Any]

# The markers of tests that use a fixture. What takes no fixture to start is marked where it stands.
MARKERS = {"postgres_server": "postgres", "browser": "browser", "site": "process"}


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items):
    for item in items:
        for fixture in MARKERS.keys() & set(item.fixturenames):
            item.add_marker(MARKERS[fixture])


def pytest_collection_finish():
    gc.freeze()  # what is imported by now stays, and is not gone through again and again


@pytest.fixture(scope="session", autouse=True)
def _kept_http_clients():
    """Keep all HTTP clients of LangChain's chat models, one for each server that a test starts.

    LangChain drops the oldest of more than 128 without closing it, while some other test runs. The
    others it would close when the interpreter ends, which is too late for that.
    """
    with ExitStack() as closing_all:
        for name in ("_cached_sync_httpx_client", "_cached_async_httpx_client"):
            build_client = getattr(_client_utils, name).__wrapped__
            setattr(_client_utils, name, cache(partial(_build_kept, build_client, closing_all)))
        yield


def _build_kept(build_client, closing_all, *args, **options):
    client = build_client(*args, **options)
    if not hasattr(client, "aclose"):  # connections of the others ended with their event loops
        closing_all.callback(client.close)
    return client


@pytest.fixture(autouse=True)
def _no_keys(request, monkeypatch, tmp_path_factory):
    """Keep the keys and the runs of whoever runs the tests out of them.

    A folder of its own is made only for a test that asks for one: pytest looks at all that are
    there to number it.
    """
    for variable in ("OPENAI_API_KEY", "TOGETHER_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path_factory.getbasetemp() / f"{uuid4().hex}.sqlite"
    if "tmp_path" in request.fixturenames:
        path = request.getfixturevalue("tmp_path") / "runs.sqlite"
    monkeypatch.setenv("MOA_DB", str(path))


@pytest.fixture(autouse=True)
def _nothing_known_of_servers():
    """Forget what servers of other tests said: a new one may have the port of an old one."""
    traits.traits_by_name.cache_clear()
    normalization.thought_habit.cache_clear()


@pytest.fixture(params=["sync", "async"])
def invoke(request) -> Call:
    """Call a graph or model, once through `invoke` and once through `ainvoke`."""

    def call(runnable: Runnable, *args: Any, **options: Any) -> Any:
        if request.param == "sync":
            return runnable.invoke(*args, **options)
        return asyncio.run(runnable.ainvoke(*args, **options))

    return call


@pytest.fixture(params=["sync", "async"])
def stream(request) -> Call:
    """Collect what a graph or model streams, once through `stream` and once through `astream`."""

    def collect(runnable: Runnable, *args: Any, **options: Any) -> list[Any]:
        if request.param == "sync":
            return list(runnable.stream(*args, **options))

        async def read() -> list[Any]:
            return [each async for each in runnable.astream(*args, **options)]

        return asyncio.run(read())

    return collect


@pytest.fixture(params=["sync", "async"])
def follow(request) -> Call:
    """Run a graph to its end, and give its state; tell of each node when it has ended."""

    def call(graph: Runnable, ended: Call = lambda _: None, config: Any = None) -> Any:
        # Without "custom", the sync side may tell of a node only when the next one has ended. With
        # it, what waits for a part to tell takes one of the threads that `max_concurrency` allows.
        prompt = [] if config and "max_concurrency" in config else ["custom"]
        options = {"config": config, "stream_mode": ["updates", "values", *prompt]}
        state = {}

        def take(mode: str, part: dict[str, Any]) -> None:
            if mode == "values":
                state.update(part)
            elif mode == "updates":
                for node in part:
                    ended(node)

        async def read() -> None:
            async for each in graph.astream({"messages": "q"}, **options):
                take(*each)

        if request.param == "async":
            asyncio.run(read())
        else:
            for each in graph.stream({"messages": "q"}, **options):
                take(*each)
        return state

    return call


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A fresh OpenAI-compatible server."""
    with ChatServer() as running:
        yield running


@pytest.fixture
def model() -> Callable[..., FakeModel]:
    """Make fake chat models."""
    return FakeModel


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A real PostgreSQL of the tests' own, for each process that runs tests."""
    import postgres

    with postgres.postgres_server() as server:
        yield server


@pytest.fixture
def postgres(postgres_server) -> str:
    """The address of an empty database with the checkpointer's tables."""
    from langgraph.checkpoint.postgres import PostgresSaver

    name = f"test_{uuid4().hex}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    address = postgres_server.address(name)
    with PostgresSaver.from_conn_string(address) as saver:
        saver.setup()
    return address


@contextmanager
def own_garbage_collection():
    """Undo what a command sets for its process: other tests hear of what they leave behind."""
    thresholds = gc.get_threshold()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


@pytest.fixture
def moa(monkeypatch, capsys):
    """Run `moa` to its end, in this process: a new one takes seconds to import LangGraph."""
    from moa_graph.cli import main

    def run(*words, db=None, stdin="", terminal=False, env=None):
        words = ["moa", *map(str, words), *(["--db", str(db)] if db else [])]
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", words)
            patch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin.encode())))
            patch.setattr(sys.stdin, "isatty", lambda: terminal)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended, own_garbage_collection():
                main()
        told = capsys.readouterr()
        code = ended.value.code
        if isinstance(code, str):  # `sys.exit` prints it when the process ends
            told, code = told._replace(err=f"{told.err}{code}\n"), 1
        assert "Traceback" not in told.err
        return subprocess.CompletedProcess(words, code or 0, told.out, told.err)

    return run


@pytest.fixture
def evaluate(moa):
    """Run `moa eval` to its end."""
    return partial(moa, "eval")
