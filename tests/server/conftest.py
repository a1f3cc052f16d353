"""What the tests of the server's dialects share."""

import pytest
from openai import DefaultHttpxClient, OpenAI
from raw_client import Gate
from serving import Serving, http

from moa_graph import MoAConfig


@pytest.fixture(scope="session", autouse=True)
def _close_http():
    with http:
        yield


@pytest.fixture
def local_agent(server):
    """Make an agent whose model is at the local server."""
    return lambda model, **options: {
        "model": f"openai:{model}",
        "base_url": server.url,
        "max_retries": 0,
        **options,
    }


@pytest.fixture
def serve_mine(local_agent):
    """Serve a mixture `mine` of `a` and `b`; by default `w` writes."""
    running = []

    def start(aggregator=None, fallbacks=(), layers=None, serving=None, **options):
        how = {name: options.pop(name) for name in ("api", "limits") if name in options}
        mixture = MoAConfig(
            name="mine",
            layers=layers or [{"a": local_agent("a"), "b": local_agent("b")}],
            aggregator=aggregator or local_agent("w"),
            fallbacks=list(fallbacks),
            **options,
        )
        running.append(Serving(mixture, **how, **(serving or {})).__enter__())
        return running[-1]

    yield start
    for each in running:
        each.__exit__()


@pytest.fixture
def client_of_mine(serve_mine):
    """Make OpenAI's client of a mixture that is served."""
    clients = []

    def start(**options):
        plain = DefaultHttpxClient(verify=False)  # certificates take a while to load
        url = f"{serve_mine(**options).url}/v1"
        clients.append(OpenAI(base_url=url, http_client=plain, api_key="any", max_retries=0))
        return clients[-1]

    yield start
    for each in clients:
        each.close()


@pytest.fixture
def mixture(local_agent):
    """A mixture `mine` of one proposer, `a`; `w` writes."""
    return MoAConfig(name="mine", layers=[{"a": local_agent("a")}], aggregator=local_agent("w"))


@pytest.fixture
def gate(server):
    """What keeps all proposers waiting until it is set."""
    with Gate() as opened:
        server.model("a", until=opened.is_set)
        yield opened
