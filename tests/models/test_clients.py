"""The HTTP below the models that are built from names: errors, bounds, proxies, what is sent."""

import asyncio
import re
import ssl
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count

import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI
from waiting import PATIENCE, wait_until

from moa_graph import Agent, create_moa
from moa_graph.models.agent import build_model
from moa_graph.models.openai.aiohttp_transport import AiohttpTransport
from moa_graph.models.openai.clients import shared_clients

BODY = {"model": "a", "messages": [{"role": "user", "content": "q"}]}


def post(url, **options):
    """Post through the client that the models share."""
    client = shared_clients()["http_async_client"]

    async def send():
        return await client.post(f"{url}/chat/completions", json=BODY, **options)

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset", (httpx2.ReadError, httpx2.RemoteProtocolError)),
        ("truncate", httpx2.RemoteProtocolError),
        ("hang", httpx2.ReadTimeout),
    ],
)
def test_errors_are_those_that_the_openai_client_retries(fault, error, server):
    server.model("a", always=fault)
    with pytest.raises(error):
        post(
            server.url, timeout=httpx2.Timeout(PATIENCE, read=0.3 if fault == "hang" else PATIENCE)
        )


def test_refused_connection_is_no_timeout():
    with pytest.raises(httpx2.ConnectError, match=r"127\.0\.0\.1"):
        post("http://127.0.0.1:1/v1")


@pytest.mark.parametrize("provider", ["openai", "together"])
@pytest.mark.parametrize(
    ("timeout", "bounds"), [(None, (600, 30)), (90.0, (90, 30)), (5.0, (5, 5))]
)
def test_requests_are_bounded(provider, timeout, bounds):
    url = "http://127.0.0.1:1/v1"
    model = build_model(Agent(model=f"{provider}:a", base_url=url, timeout=timeout))
    for client in (model.root_client, model.root_async_client):
        assert (client.timeout.read, client.timeout.connect) == bounds


def test_connections_to_an_endpoint_are_bounded(server, monkeypatch):
    monkeypatch.setenv("MOA_MAX_CONNECTIONS", "2")
    under_way = []

    def two_have_come():
        ended = sum(call.ended is not None for call in server.calls)
        under_way.append(len(server.calls) - ended)
        return len(server.calls) >= 2 * (ended // 2 + 1)

    server.model("*", until=two_have_come)
    agents = [Agent(model=f"openai:m{n}", base_url=server.url) for n in range(6)]
    graph = create_moa([agents], "offline:consensus").compile()
    asyncio.run(graph.ainvoke({"messages": "q"}))
    assert len(server.calls) == 6
    assert max(under_way) == 2


def test_who_came_first_gets_the_next_connection(server, monkeypatch):
    monkeypatch.setenv("MOA_MAX_CONNECTIONS", "1")
    client = shared_clients()["http_async_client"]
    url = f"{server.url}/chat/completions"

    async def send_all():
        await asyncio.gather(*(client.post(url, json=BODY | {"model": f"m{n}"}) for n in range(6)))

    asyncio.run(send_all())
    assert [call.model for call in server.calls] == [f"m{n}" for n in range(6)]


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_senseless_bound_is_told_before_the_first_call(value, server, monkeypatch):
    monkeypatch.setenv("MOA_MAX_CONNECTIONS", value)
    agent = Agent(model="openai:a", base_url=server.url)
    with pytest.raises(ValueError, match=f"MOA_MAX_CONNECTIONS='{value}': expected a number"):
        create_moa([[agent]], agent)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_proxy_of_the_environment_is_asked(variable, server, monkeypatch):
    monkeypatch.setenv(variable, server.url.removesuffix("/v1"))
    assert post("http://models.invalid/v1").json()["choices"]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_proxy_needs_no_scheme(variable, server, monkeypatch):
    monkeypatch.setenv(variable, server.url.removesuffix("/v1").removeprefix("http://"))
    assert post("http://models.invalid/v1").json()["choices"]


def test_proxy_is_told_who_asks(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1").replace("//", "//me:pw@"))
    post("http://models.invalid/v1")
    assert server.calls[0].headers["proxy-authorization"] == "Basic bWU6cHc="


@pytest.mark.process
def test_loops_that_are_just_closed_leave_no_noise(server):
    code = f"""
import asyncio
from moa_graph import Agent, create_moa
agent = Agent(model="openai:a", base_url="{server.url}")
graph = create_moa([[agent]], agent).compile()
for _ in range(2):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(graph.ainvoke({{"messages": "q"}}))
    loop.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr


@pytest.mark.process
@pytest.mark.parametrize("call", ["graph.invoke(question)", "asyncio.run(graph.ainvoke(question))"])
def test_forked_processes_get_their_own_answers(call, server):
    code = f"""
import asyncio, os
from moa_graph import Agent, create_moa
agent = Agent(model="openai:a", base_url="{server.url}")
graph = create_moa([[agent] * 2], agent).compile()

def ask(text):
    question = {{"messages": text}}
    return {call}["messages"][-1].text

ask("warm")
children = []
for name in ("one", "two", "three"):
    if child := os.fork():
        children.append(child)
    else:
        try:
            mine = all(f"{{name}}-{{n}}" in ask(f"{{name}}-{{n}}") for n in range(10))
        finally:
            os._exit(not mine)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize(
    "hosts", ["127.0.0.1", "example.com, 127.0.0.1:{port}", "127.0.0.0/8", "::1,*", "a:b,127.0.0.1"]
)
def test_host_without_proxy_is_asked_itself(hosts, server, monkeypatch):
    port = httpx2.URL(server.url).port
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", hosts.format(port=port))
    assert post(server.url).json()["choices"]


@pytest.mark.parametrize("hosts", ["127.0.0.1:1", "10.0.0.0/8", "[::1]", "fe80::/10", "localhost"])
def test_other_hosts_are_asked_by_the_proxy(hosts, server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", hosts)
    with pytest.raises(httpx2.ProxyError):
        post(server.url)


@pytest.mark.parametrize("name", ["openai:a", "together:a"])
def test_proxy_is_no_reason_for_a_warning(name, monkeypatch, caplog):
    monkeypatch.setattr(
        "langchain_openai.chat_models._client_utils._proxy_env_warning_emitted", False
    )
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    build_model(Agent(model=name, base_url="http://127.0.0.1:1/v1"))
    assert not caplog.records


def test_socks_proxy_says_what_it_needs(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://me:pw@127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ImportError, match=r"^ALL_PROXY: .*pip install 'httpx2\[socks\]'$"):
        build_model(Agent(model="openai:a", base_url="http://models.invalid/v1"))


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    ["http://me:pw@ss:x", "htp://me:pw@host:1", "http://", "http://host:99999", "socks4://host:1"],
)
def test_senseless_proxy_is_told_before_the_first_call(variable, value, server, monkeypatch):
    monkeypatch.setenv(variable, value)
    agent = Agent(model="openai:a", base_url=server.url)
    with pytest.raises(ValueError, match=f"^{variable}: expected .* 'http://host:8080'$") as told:
        create_moa([[agent]], agent)
    assert told.value.__cause__ is None
    assert "pw" not in str(told.value)


def test_proxy_that_nobody_is_to_ask_may_be_senseless(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://")
    monkeypatch.setenv("NO_PROXY", "*")
    assert post(server.url).json()["choices"]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_proxy_of_blanks_is_told_by_name(variable, server, monkeypatch):
    monkeypatch.setenv(variable, " ")
    agent = Agent(model="openai:a", base_url=server.url)
    with pytest.raises(ValueError, match=f"^{variable}: expected the address of a proxy"):
        create_moa([[agent]], agent)


@pytest.mark.parametrize("status", [302, 308])
def test_redirects_in_a_circle_are_told_as_such_and_not_asked_again(status, invoke):
    with redirecting(None, status=status) as url:
        agent = Agent(model="openai:a", base_url=url, max_retries=2)
        graph = create_moa([[agent, "offline:lead"]], "offline:consensus").compile()
        proposal = invoke(graph, {"messages": "q"})["proposals"]["layer_1_a"]
    assert proposal["error"].endswith(f"{url} redirects endlessly; check the address")
    assert "may_be_billed" not in proposal


@pytest.mark.parametrize("stream", [False, True])
def test_parameters_of_an_address_are_sent_behind_the_operation(stream, server):
    """As Azure and gateways want them."""
    with recording_paths(server.url) as (url, paths):
        model = build_model(Agent(model="openai:a", base_url=f"{url}?api-version=2025-01-01&x="))

        async def ask_twice():
            for _ in range(2):  # the second request is built from the first
                if stream:
                    assert "".join([c.text async for c in model.astream("q")]) == "a on q"
                else:
                    assert (await model.ainvoke("q")).text == "a on q"

        asyncio.run(ask_twice())
        assert model.invoke("q").text == "a on q"
    assert paths == ["/v1/chat/completions?api-version=2025-01-01&x="] * 3


def test_parameters_of_an_address_of_the_environment_are_refused(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h/v1?api-version=1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-12345678")
    with pytest.raises(ValueError, match=r"OPENAI_BASE_URL=.*without parameters; write it as the"):
        create_moa([["openai:a"]], "openai:a")


def test_redirects_are_followed(server, invoke):
    with redirecting(server.url) as url:
        agent = Agent(model="openai:a", base_url=url, max_retries=0)
        graph = create_moa([[agent], [agent]], "offline:consensus").compile()
        result = invoke(graph, {"messages": "q"})
    assert result["proposals"]["layer_2_a"]["content"].startswith("a on q")


def test_call_that_is_redirected_all_at_once_is_made_again(server):
    with redirecting(server.url, after=1) as url:
        model = build_model(Agent(model="openai:a", base_url=url, max_retries=1))
        for _ in range(2):
            assert asyncio.run(model.ainvoke("q")).text == "a on q"


def test_key_of_an_administrator_is_not_sent(server, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin")
    model = build_model(Agent(model="openai:a", base_url=server.url))
    model.root_client.api_key = model.root_async_client.api_key = ""
    with suppress(Exception):
        invoke(model, "q")
    assert not any("sk-admin" in str(call.headers) for call in server.calls)


def test_rest_of_the_openai_client_is_there(server):
    completions = build_model(Agent(model="openai:a", base_url=server.url)).client
    raw = completions.with_raw_response.parse(**BODY)
    assert (
        raw.parse().choices[0].message.content
        == completions.parse(**BODY).choices[0].message.content
    )


async def test_request_that_was_sent_holds_no_body(server):
    client = shared_clients()["http_async_client"]
    await client.post(f"{server.url}/chat/completions", json=BODY)  # does not redirect
    server.model("a", always="hang")
    request = client.build_request("POST", f"{server.url}/chat/completions", json=BODY)
    sending = asyncio.create_task(client.send(request))
    await wait_until(lambda: len(server.calls) == 2)
    assert server.calls[1].body == BODY
    assert server.calls[1].ended is None
    with pytest.raises(httpx2.RequestError, match="must be built again"):
        await anext(aiter(request.stream))
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await wait_until(lambda: server.calls[1].ended)  # its connection is closed


def test_body_of_megabytes_arrives(server):
    agent = Agent(model="openai:a", base_url=server.url)
    question = "long " * 600_000
    answer = asyncio.run(build_model(agent).ainvoke(question))
    assert answer.text == f"a on {question}"


@pytest.mark.parametrize("reply", ["fine words", {"add": {"a": 1, "b": 2}}])
def test_answers_and_requests_are_those_of_a_plain_chat_model(reply, server, invoke):
    server.model("a", reply=reply)
    options = {"temperature": 0.5, "stop": ["END"], "max_tokens": 7}
    plain = ChatOpenAI(model="a", base_url=server.url, api_key="none", **options)
    named = build_model(Agent(model="openai:a", base_url=server.url, **options))
    expected, answer = invoke(plain, "q"), invoke(named, "q")
    for field in ("content", "tool_calls", "usage_metadata"):
        assert getattr(answer, field) == getattr(expected, field)
    told = {name: value for name, value in expected.response_metadata.items() if value}
    told["token_usage"] = {name: n for name, n in told["token_usage"].items() if n}
    assert {name: value for name, value in answer.response_metadata.items() if value} == told
    sent, usual = (call.body for call in reversed(server.calls))
    usual["max_tokens"] = usual.pop("max_completion_tokens")
    assert sent == usual


def test_page_of_html_is_told_as_such(server, invoke):
    server.model("a", always="wrong type")
    with pytest.raises(ValueError, match="Bad gateway"):
        invoke(build_model(Agent(model="openai:a", base_url=server.url)), "q")


def test_options_of_one_call_reach_the_wire(server, invoke):
    model = build_model(Agent(model="openai:a", base_url=server.url))
    invoke(model.bind(extra_headers={"x-team": "blue"}), "q")
    assert server.calls[0].headers["x-team"] == "blue"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("SSL_CERT_FILE", None, "certificates (PEM): No such file or directory"),
        ("SSL_CERT_FILE", "no certificate", "certificates (PEM): no certificate in it"),
        ("SSLKEYLOGFILE", None, "written: No such file or directory"),
    ],
)
def test_senseless_file_of_certificates_is_told_before_the_first_call(
    name, content, reason, moa, server, tmp_path, monkeypatch
):
    path = tmp_path / "none" / "cert.pem"
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
    monkeypatch.setenv(name, str(path))
    agent = Agent(model="openai:a", base_url=server.url)
    with pytest.raises(ValueError, match=re.escape(f"{name}={str(path)!r}: expected ")) as told:
        create_moa([[agent]], agent)
    assert str(told.value).endswith(reason)
    for way in (["--preset", "openai"], ["--base-url", server.url]):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
        ended = moa("ask", "q", *way)
        assert (ended.returncode, ended.stderr) == (1, f"moa: {told.value}\n")
    assert not server.calls


@pytest.mark.process
async def test_certificates_are_those_of_the_environment(tmp_path, monkeypatch):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "
            f"/CN=localhost -addext subjectAltName=DNS:localhost -keyout {key} -out {cert}"
        ).split(),
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)

    async def answer(reader, writer):
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with await asyncio.start_server(answer, "localhost", 0, ssl=context) as listening:
        url = f"https://localhost:{listening.sockets[0].getsockname()[1]}"
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            await _get(url, httpx2.create_ssl_context())
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert (await _get(url, httpx2.create_ssl_context())).text == "ok"


async def _get(url, context):
    transport = AiohttpTransport(1, 1, context)
    async with httpx2.AsyncClient(transport=transport, timeout=PATIENCE) as client:
        return await client.get(url)


@contextmanager
def recording_paths(url):
    """Pass requests on to a server, and note their paths."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # the library's name
            paths.append(self.path)
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = httpx2.post(f"{url}/chat/completions", content=body, timeout=PATIENCE)
            self.send_response(200)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/v1", paths
        running.shutdown()
        thread.join()


@contextmanager
def redirecting(url, after=0, status=307):
    """Serve nothing but the way to an address, after some requests that are answered.

    Without an address, that is the one which was asked.
    """
    numbers = count()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # the library's name
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            there = (url or "").removesuffix("/v1") + self.path
            is_answered = next(numbers) < after
            answer = b""
            if is_answered:
                answer = httpx2.post(there, content=body, timeout=PATIENCE).content
            self.send_response(200 if is_answered else status)
            self.send_header("location", there)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # after some kinds of redirects  # noqa: N815

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/v1"
        running.shutdown()
        thread.join()


async def test_later_requests_have_the_headers_of_the_first_and_bodies_of_their_own(server):
    agent = Agent(model="openai:m", base_url=server.url, max_retries=1)
    model = build_model(agent)
    server.model("m", faults=[None, None, 503])
    for text in ("short", "one that is longer", "once more, after a failure", "語" * 1000):
        assert (await model.ainvoke(text)).text == f"m on {text}"
    others = build_model(agent.model_copy(update={"timeout": 5.0}))
    await others.ainvoke("short")
    first, *later = server.calls
    assert list(first.headers) == list(later[-1].headers)

    def without(call, *names):
        return [item for item in call.headers.items() if item[0] not in names]

    changing = ("content-length", "x-stainless-retry-count")
    assert all(without(call, *changing) == without(first, *changing) for call in later[:-1])
    counts = [call.headers["x-stainless-retry-count"] for call in server.calls]
    assert counts == ["0", "0", "0", "1", "0", "0"]
    timeouts = [call.headers["x-stainless-read-timeout"] for call in server.calls]
    assert timeouts == ["600.0"] * 5 + ["5.0"]


@pytest.fixture
async def warm(server):
    """A model that has been asked: later requests are built as its first one was."""
    agent = Agent(model="openai:m", base_url=server.url, max_retries=1, api_key_env="SOME_KEY")

    async def build(monkeypatch):
        monkeypatch.setenv("SOME_KEY", "sk-secret-secret")
        model = build_model(agent)
        await model.ainvoke("warm")
        server.calls.clear()
        return model

    return build


@pytest.mark.parametrize("fault", [503, 429, 408, "reset"])
async def test_later_request_that_fails_is_made_again_by_the_openai_client(
    fault, server, warm, monkeypatch
):
    model = await warm(monkeypatch)
    server.model("m", faults=[fault])
    assert (await model.ainvoke("q")).text == "m on q"
    assert [c.headers["x-stainless-retry-count"] for c in server.calls] == ["0", "1"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (400, openai.BadRequestError),
        (500, openai.InternalServerError),
        (429, openai.RateLimitError),
        ("echo key", openai.PermissionDeniedError),
        ("reset", openai.APIConnectionError),
    ],
)
async def test_later_request_that_fails_for_good_raises_what_the_first_would(
    fault, error, server, warm, monkeypatch
):
    model = await warm(monkeypatch)
    server.model("m", always=fault)
    with pytest.raises(error) as raised:
        await model.ainvoke("q")
    assert "sk-secret" not in str(raised.value)
    is_retried = fault not in {400, "echo key"}
    assert len(server.calls) == 1 + is_retried
    server.model("m")
    assert (await model.ainvoke("q")).text == "m on q"


async def test_later_request_has_the_key_and_the_timeout_that_its_client_has_then(
    server, warm, monkeypatch
):
    model = await warm(monkeypatch)
    model.root_async_client.api_key = "sk-another"
    await model.ainvoke("q")
    assert server.calls[-1].headers["authorization"] == "Bearer sk-another"
