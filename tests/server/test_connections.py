"""What a connection may take before it has shown a key, told by raw sockets."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from serving import Serving
from waiting import PATIENCE, wait_for

from moa_graph import MoAConfig
from moa_graph.server.connections import ConnectionLimits
from moa_graph.server.service import ServerLimits

CHAT = "/v1/chat/completions"
KEY = "MARKED-9f3b77c1d2-KEY"
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SOON = ConnectionLimits(head_seconds=0.3, unread_seconds=0.3)


def connect(serving):
    address = urlsplit(serving.url)
    return socket.create_connection((address.hostname, address.port), timeout=PATIENCE)


def read_all(connection):
    data = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            data += part
    return data


def connect_and_send(serving, data):
    """Open a connection on which something has come before the server looks at its clock."""
    with serving.paused():
        connection = connect(serving)
        connection.sendall(data)
    return connection


def send(serving, data):
    """Send a request, and read what comes until the server closes."""
    with connect_and_send(serving, data[:1000]) as connection:
        with suppress(ConnectionError):
            connection.sendall(data[1000:])
        return read_all(connection)


def read_error(answer):
    """Give the status of a refusal and its error, which is in OpenAI's shape."""
    first, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(first.split()[1]), error["code"], error["message"]


@contextmanager
def offline_server(connections=None, **options):
    with Serving(MoAConfig.load("offline"), connections=connections, **options) as serving:
        yield serving


@pytest.fixture(scope="module")
def serving():
    with offline_server(ConnectionLimits(head_bytes=4096)) as running:
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: 1\r\n" * 20_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"1" * 100_000,
        b"GET /" + b"x" * 100_000,
        b"x" * 100_000,
    ],
)
def test_head_beyond_the_limit_is_refused_before_its_end(sent, serving):
    status, code, message = read_error(send(serving, sent))
    assert (status, code) == (431, "headers_too_large")
    assert message == "the request line and the headers have more than 4,096 bytes"


def test_head_within_the_limit_is_read(serving):
    cookie = b"Cookie: " + b"c" * 3900
    assert send(serving, MODELS.replace(b"Host", cookie + b"\r\nHost")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("line", [b"1;" + b"x" * 100_000, b"0\r\n" + b"X-A: 1\r\n" * 20_000])
def test_framing_of_a_body_beyond_the_limit_ends_the_connection(line, serving):
    head = b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 200 " not in send(serving, head + line)[:20]
    assert send(serving, HEALTH).startswith(b"HTTP/1.1 200")


def post_in_chunks(chunks, *, path=CHAT, key=KEY, last=b"0\r\n\r\n"):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += ["Transfer-Encoding: chunked", f"Authorization: Bearer {key}", "", ""]
    return "\r\n".join(lines).encode() + chunks + last


@pytest.mark.parametrize("last", [b"0\r\n\r\n", b""], ids=["whole", "half"])
@pytest.mark.parametrize(
    ("path", "key"), [(CHAT, KEY), (CHAT, "none"), ("/health", "none"), ("/nowhere", KEY)]
)
def test_body_in_small_pieces_is_read_no_further_than_the_limit(last, path, key, caplog):
    few = ConnectionLimits(small_pieces=100)
    many = post_in_chunks(b"1\r\n1\r\n" * 50_000, path=path, key=key, last=last)
    with offline_server(few, api_key=KEY) as serving:
        answer = send(serving, many)
        if answer:  # the system takes it back where more was sent than read
            status, code, message = read_error(answer)
            assert (status, code) == (400, "too_many_pieces")
            assert message == "the body came in more than 100 pieces of less than 64 bytes"
        assert send(serving, HEALTH).startswith(b"HTTP/1.1 200")
    assert "ASGI" not in caplog.text


def test_body_in_few_small_pieces_or_many_large_ones_is_read(serving):
    body = {"model": "offline", "messages": [{"role": "user", "content": "x" * 300_000}]}
    text = json.dumps(body).encode()
    for size in (80, 5):
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        answer = send(
            serving, post_in_chunks(chunks).replace(b"Host", b"Connection: close\r\nHost")
        )
        assert answer[9:12] == (b"200" if size == 80 else b"400")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 2,
    ],
)
def test_what_is_no_http_is_refused(sent, serving):
    status, code, _ = read_error(send(serving, sent))
    assert (status, code) == (400, "invalid_http")


def test_two_lengths_of_one_body_are_refused(serving):
    """Else a proxy that heeds the other one passes on as a body what is read as a request."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n".encode()
    sent = head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + MODELS
    answer = send(serving, sent)
    assert read_error(answer)[:2] == (400, "ambiguous_length")
    assert answer.count(b"HTTP/1.1") == 1


def test_upgrade_to_a_websocket_is_not_made(serving):
    lines = b"Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    sent = MODELS.replace(b"Connection: close", lines + b"Connection: upgrade, close")
    assert send(serving, sent).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: ", b"G"])
def test_half_a_head_is_not_waited_for(sent):
    with offline_server(SOON) as serving:
        status, code, message = read_error(send(serving, sent))
    assert (status, code) == (408, "request_timeout")
    assert message == "the headers did not come within 0.3 s"


def test_connection_without_a_request_is_closed_without_a_word():
    with offline_server(SOON) as serving:
        assert send(serving, b"") == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_answered_connection_is_not_kept_for_what_does_not_come(sent):
    with offline_server(SOON) as serving:
        assert send(serving, sent).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("length", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("path", "status"), [("/health", 405), (CHAT, 401)])
def test_rest_of_an_answered_request_is_neither_read_nor_waited_for(length, path, status):
    limits = ConnectionLimits(head_seconds=PATIENCE, rest_seconds=0.3)
    with offline_server(limits, api_key=KEY) as serving, connect(serving) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n".encode())
        assert int(read_all(connection)[9:12]) == status  # it ends, for the server says no more
        with pytest.raises(ConnectionError):
            send_until_closed(connection, b"no chunk" * 10_000)


def send_until_closed(connection, data):
    """Send again and again, and read nothing but what has come."""
    while True:
        with suppress(TimeoutError):
            connection.recv(1)
        connection.sendall(data)


def test_bytes_now_and_then_do_not_move_the_deadline():
    begun = b"GET / HTTP/1.1\r\nX-A: "
    with offline_server(SOON) as serving, connect_and_send(serving, begun) as connection:
        connection.settimeout(0.02)
        with pytest.raises(ConnectionError):
            send_until_closed(connection, b"x")


def test_answers_that_nobody_reads_end_the_connection():
    sent = b"GET /page/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500_000
    with offline_server(SOON) as serving, connect(serving) as connection:
        with pytest.raises(ConnectionError):
            connection.sendall(sent)
        assert send(serving, HEALTH).startswith(b"HTTP/1.1 200")


def test_slow_run_outlasts_the_deadlines(server):
    with ExitStack() as stack:
        agent = {"model": "openai:a", "base_url": server.url}
        mixture = MoAConfig(name="mine", layers=[[agent]], aggregator=agent)
        serving = stack.enter_context(Serving(mixture, connections=SOON))
        server.model("a", latency=1)
        body = json.dumps({"model": "mine", "messages": [{"role": "user", "content": "q"}]})
        request = post_in_chunks(b"%x\r\n%s\r\n" % (len(body), body.encode()))
        answer = send(serving, request.replace(b"Host", b"Connection: close\r\nHost"))
        assert b'"a on q"' in answer


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: ", HEALTH.replace(b"close", b"x")])
def test_connections_that_wait_for_their_clients_make_room(sent):
    with offline_server(ConnectionLimits(connections=4)) as serving, ExitStack() as held:
        connections = [held.enter_context(connect(serving)) for _ in range(12)]
        for connection in connections:
            with suppress(ConnectionError):
                connection.sendall(sent)
        assert send(serving, MODELS).startswith(b"HTTP/1.1 200")
        for connection in connections[:8]:  # the oldest
            read_all(connection)


def test_connections_in_use_leave_room_for_health_alone(server):
    agent = {"model": "openai:a", "base_url": server.url, "max_retries": 0}
    mixture = MoAConfig(name="mine", layers=[[agent]], aggregator=agent)
    server.model("a", always="hang")
    body = {"model": "mine", "messages": [{"role": "user", "content": "q"}]}
    few = ConnectionLimits(connections=2)
    with Serving(mixture, connections=few) as serving, ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(httpx.post, serving.url + CHAT, json=body, timeout=PATIENCE)
            for _ in range(2)
        ]
        wait_for(lambda: len(server.calls_of("a")) == 2)
        with ExitStack() as held:
            for _ in range(40):
                held.enter_context(connect(serving))
            assert send(serving, HEALTH).startswith(b"HTTP/1.1 200")
            status, code, message = read_error(send(serving, MODELS))
            assert (status, code) == (503, "too_many_connections")
            theirs = MODELS.replace(b"\r\n", b"\r\nanthropic-version: 2023-06-01\r\n", 1)
            assert b'"type":"overloaded_error"' in send(serving, theirs)
            assert message == "2 connections are in use, which is the most"
        serving.stop()
        assert [each.result().status_code for each in asked] == [503, 503]


def test_half_a_body_without_the_key_takes_no_place():
    limits = {"limits": ServerLimits(body_seconds=PATIENCE), "api_key": KEY}
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with offline_server(ConnectionLimits(connections=2), **limits) as serving, ExitStack() as held:
        for _ in range(4):
            connection = held.enter_context(connect(serving))
            connection.sendall(f"{head}Content-Length: 9\r\n\r\n{{".encode())
            assert connection.recv(12) == b"HTTP/1.1 401"
        assert send(serving, MODELS).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: ", b"\r\n\r\n"])
def test_server_stops_while_connections_are_half_open(sent):
    with ExitStack() as held:
        with offline_server() as serving:
            connections = [held.enter_context(connect(serving)) for _ in range(3)]
            for connection in connections:
                connection.sendall(sent)
            assert send(serving, HEALTH).startswith(b"HTTP/1.1 200")
        for connection in connections:
            read_all(connection)
