"""A failed connection says which it is, and how to go on; over both HTTP clients."""

import re
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import httpx2
import pytest
from openai import APIConnectionError, APITimeoutError
from waiting import PATIENCE

from moa_graph import Agent, create_moa
from moa_graph.connection_failures import describe_connection_failure
from moa_graph.redaction import redacted_message


@contextmanager
def serving_tls(folder, *options):
    """Speak TLS with a certificate that is signed by itself, and give the host and port."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=localhost", *options),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with listening(lambda connection: context.wrap_socket(connection, server_side=True)) as address:
        yield address


@contextmanager
def listening(answer):
    """Listen on a port, and hand each connection to a function."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError), connection:
                    answer(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def send_no_http(connection):
    connection.recv(1)
    connection.sendall(b"hello\r\n")


@pytest.fixture(scope="module")
def secure_address(tmp_path_factory):
    """The host and port of a server whose certificate it has signed itself."""
    with serving_tls(tmp_path_factory.mktemp("certificate"), "-days", "2") as address:
        yield address


@pytest.fixture
def failure(invoke, model, monkeypatch):
    """Ask a model at an address, and give the error that its proposal has."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def ask(url, **options):
        agent = Agent(model="openai:a", base_url=url, max_retries=0, **options)
        graph = create_moa([{"a": agent, "b": model()}], model()).compile()
        return invoke(graph, {"messages": "q"})["proposals"]["layer_1_a"]["error"]

    return ask


def test_host_that_is_not_there_is_told(failure):
    assert failure("http://nobody.invalid/v1") == (
        "cannot reach http://nobody.invalid/v1: no such host; check the address, and whether its "
        "server runs"
    )


def test_refused_connection_is_told(failure):
    assert "cannot reach http://127.0.0.1:1/v1: connection refused; check" in failure(
        "http://127.0.0.1:1/v1"
    )


@pytest.mark.process
def test_certificate_that_is_not_trusted_is_told(failure, secure_address):
    error = failure(f"https://{secure_address}/v1")
    assert f"https://{secure_address}/v1: its certificate is not trusted (self-signed" in error
    assert "set SSL_CERT_FILE to a file with the certificate" in error


@pytest.mark.process
def test_certificate_of_another_host_is_told_with_what_helps(tmp_path):
    with serving_tls(tmp_path, "-days", "2") as address:
        context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        with pytest.raises(httpx2.ConnectError) as caught:
            httpx2.get(f"https://{address}/v1", verify=context, timeout=PATIENCE)
    told = describe_connection_failure(caught.value)
    assert "its certificate is not trusted (IP address mismatch" in told
    assert told.endswith("; use the host name of the certificate, not an IP address")


def test_server_without_tls_is_told(failure):
    with listening(send_no_http) as address:
        error = failure(f"https://{address}/v1")
    assert "no secure connection (" in error
    assert "write http:// instead of https://" in error


def test_server_that_speaks_no_http_is_told(failure):
    with listening(send_no_http) as address:
        error = failure(f"http://{address}/v1")
    assert "the connection broke off before an answer was whole; check whether a model's" in error


@pytest.mark.process
@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("http://me:geheim@127.0.0.1:1", r"127\.0\.0\.1:1 \(HTTP_PROXY\): connection refused"),
        ("nobody.invalid:3128", r"nobody\.invalid:3128 \(HTTP_PROXY\): no such host"),
    ],
)
def test_proxy_that_cannot_be_reached_is_told_by_its_variable(proxy, reason, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    code = (
        "import asyncio, sys\n"
        "from moa_graph import Agent\n"
        "from moa_graph.models.agent import build_model\n"
        "from moa_graph.redaction import redacted_message\n"
        "url = 'http://models.invalid/v1'\n"
        "model = build_model(Agent(model='openai:a', base_url=url, max_retries=0))\n"
        "for ask in (model.invoke, lambda q: asyncio.run(model.ainvoke(q))):\n"
        "    try:\n        ask('q')\n"
        "    except Exception as error:\n        print(redacted_message(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.search(
            f"cannot reach http://models.invalid/v1 through the proxy {reason}; check", line
        )
        assert "NO_PROXY" in line
        assert "geheim" not in line


def test_server_that_is_silent_is_told(failure, server):
    server.model("a", always="hang")
    told = failure(server.url, timeout=0.5)  # on a busy machine the client's own clock may be first
    assert re.search(r"no answer (within its timeout of 0\.5 s|of .* in time)", told)
    request = httpx2.Request("POST", f"{server.url}/chat/completions")
    told = redacted_message(APITimeoutError(request=request))
    assert told == f"no answer of {server.url} in time; a longer `timeout` waits longer"


def test_cause_is_kept_behind_the_line(invoke):
    agent = Agent(model="openai:a", base_url="http://127.0.0.1:1/v1", max_retries=0)
    graph = create_moa([[agent]], agent).compile()
    with pytest.raises(Exception, match="connection refused") as caught:
        invoke(graph, {"messages": "q"})
    assert isinstance(caught.value, APIConnectionError)
    assert isinstance(caught.value.__cause__, APIConnectionError)


def test_other_errors_are_not_described():
    assert describe_connection_failure(ValueError("x")) is None
    assert describe_connection_failure(ConnectionRefusedError("x")) is None
    assert describe_connection_failure(httpx2.ConnectError("no request")) is None
