"""Who may use the server, how much at a time, and what ends with whom."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from serving import Serving, http
from waiting import PATIENCE, wait_for

from moa_graph import MoAConfig
from moa_graph.server.app import OPEN_PATHS
from moa_graph.server.server import open_socket
from moa_graph.server.service import ServerLimits

KEY = "MARKED-9f3b77c1d2-KEY"
BODY = {"model": "mine", "messages": [{"role": "user", "content": "q"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture
def mixture(server):
    agents = {
        name: {"model": f"openai:{name}", "base_url": server.url, "max_retries": 0}
        for name in "abw"
    }
    layer = {name: agents[name] for name in "ab"}
    return MoAConfig(name="mine", layers=[layer], aggregator=agents["w"])


@pytest.fixture
def serving(mixture):
    with Serving(mixture) as running:
        yield running


@pytest.fixture(scope="module")
def offline():
    """A server without a key, that asks nobody."""
    with Serving(MoAConfig.load("offline"), limits=ServerLimits(body=1000)) as running:
        yield running


@pytest.fixture(scope="module")
def locked():
    """The same with a key."""
    with Serving(MoAConfig.load("offline"), api_key=KEY) as running:
        yield running


def error(response):
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]["code"]


@pytest.mark.parametrize(
    "header",
    [None, "", KEY, "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xfc"],
)
def test_without_the_key_nobody_is_let_in(header, locked):
    headers = {"authorization": header.encode("latin-1")} if header is not None else {}
    for method, path in (
        ("GET", "/v1/models"),
        ("POST", CHAT),
        ("GET", "/api/threads"),
        ("GET", "/nope"),
    ):
        response = http.request(method, locked.url + path, headers=headers)
        assert response.status_code == 401
        assert error(response) == "invalid_api_key"
        assert KEY not in response.text


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer  {KEY}"])
def test_with_the_key_one_is_let_in(header, locked):
    response = http.get(f"{locked.url}/v1/models", headers={"authorization": header})
    assert [model["id"] for model in response.json()["data"]] == ["offline"]


def test_health_needs_no_key(locked):
    assert http.get(f"{locked.url}/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8000", "localhost.evil.com", "127.0.0.1.x", ""]
)
def test_name_that_leads_here_by_a_strangers_doing_is_refused(host, offline):
    response = http.get(f"{offline.url}/v1/models", headers={"host": host})
    assert response.status_code == 403
    assert error(response) == "unknown_host"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:80", "10.1.2.3"]
)
def test_addresses_and_localhost_are_known(host, offline):
    assert http.get(f"{offline.url}/v1/models", headers={"host": host}).status_code == 200


def test_names_that_were_told_are_known_and_with_a_key_all():
    preset, path = MoAConfig.load("offline"), "/v1/models"
    with Serving(preset, hosts=["Moa.lan"]) as serving:
        assert http.get(serving.url + path, headers={"host": "moa.lan:80"}).status_code == 200
    with Serving(preset, api_key=KEY) as serving:
        headers = {"host": "any.example", "authorization": f"Bearer {KEY}"}
        assert http.get(serving.url + path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.com", "null", "", "http://localhost:1", "http://[x"]
)
def test_page_of_another_site_is_refused(origin, offline):
    response = http.post(offline.url + CHAT, json=BODY, headers={"origin": origin})
    assert response.status_code == 403
    assert error(response) == "foreign_origin"
    assert "access-control-allow-origin" not in response.headers


def test_page_of_another_port_is_refused(offline):
    address = urlsplit(offline.url)
    for origin in (f"http://{address.hostname}:{address.port + 1}", f"http://{address.hostname}"):
        response = http.get(f"{offline.url}/v1/models", headers={"origin": origin})
        assert response.status_code == 403
        assert error(response) == "foreign_origin"


@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site", "Cross-Site", "new"])
@pytest.mark.parametrize("path", ["/v1/models", "/api/threads", "/api/events?id=x"])
def test_what_another_page_embeds_is_refused(path, fetch_site, offline):
    """A browser sends no `Origin` for an image or a script; a site is a host with all its ports."""
    response = http.get(offline.url + path, headers={"sec-fetch-site": fetch_site})
    assert response.status_code == 403
    assert error(response) == "foreign_origin"


@pytest.mark.parametrize("fetch_site", ["same-origin", "none"])
def test_what_the_page_or_a_person_asks_for_is_let_in(fetch_site, offline):
    response = http.get(f"{offline.url}/v1/models", headers={"sec-fetch-site": fetch_site})
    assert response.status_code == 200


def test_refusals_say_why(offline, locked):
    def told(url, **headers):
        response = http.get(f"{url}/v1/models", headers=headers)
        return response.json()["error"]["message"]

    assert told(offline.url, host="evil.com") == (
        "the host 'evil.com' is not known; ask for 'localhost' or an address, name the host with "
        "--allow-host, or have the server ask for a key"
    )
    assert told(offline.url, origin="null") == "a page of 'null' may not use this server"
    assert told(offline.url, **{"sec-fetch-site": "Same-Site"}) == (
        "a page of another site or port ('same-site') may not use this server"
    )
    assert told(locked.url) == (
        "wrong or missing API key; expected 'Authorization: Bearer KEY', or 'x-api-key: KEY'"
    )


def test_client_without_a_key_is_told_the_scheme(locked):
    response = http.get(f"{locked.url}/v1/models")
    assert response.headers["www-authenticate"] == "Bearer"


def test_request_that_names_no_host_is_refused(offline):
    address = urlsplit(offline.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 403 " in answer.partition(b"\r\n")[0]
    assert b"the host '' is not known" in answer


def test_link_of_another_page_leads_to_the_page(offline):
    assert http.get(offline.url, headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_page_lets_no_page_frame_it_and_sends_its_address_nowhere(offline):
    paths = [path for path in OPEN_PATHS if path != "/health"]
    assert len(paths) > 10
    for path in paths:
        headers = http.get(f"{offline.url}{path}?token=x").headers
        policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
        assert policy["frame-ancestors"] == "'none'"
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "set-cookie" not in headers


def test_page_of_the_server_itself_is_let_in(offline):
    response = http.get(f"{offline.url}/v1/models", headers={"origin": offline.url})
    assert response.status_code == 200


def test_preflight_allows_nothing(offline):
    headers = {"origin": "http://evil.com", "access-control-request-method": "POST"}
    response = http.options(offline.url + CHAT, headers=headers)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(kind, offline):
    data = json.dumps(BODY)
    response = http.post(offline.url + CHAT, content=data, headers={"content-type": kind})
    assert response.status_code == 415
    assert error(response) == "unsupported_content_type"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"model": "\\ud800"}', b'{"n": NaN}', b"[" * 900]
)
def test_what_is_no_json_is_refused(data, offline):
    headers = {"content-type": "application/json"}
    response = http.post(offline.url + CHAT, content=data, headers=headers)
    assert response.status_code == 400
    assert error(response) == "invalid_json"


@pytest.mark.parametrize("told", [True, False])
def test_body_beyond_the_limit_is_refused_while_it_is_read(told, offline):
    large = json.dumps(BODY | {"user": "x" * 1000}).encode()
    content = large if told else iter([large])
    headers = {"content-type": "application/json"}
    response = http.post(offline.url + CHAT, content=content, headers=headers)
    assert response.status_code == 413
    assert error(response) == "body_too_large"


def test_endless_body_is_not_waited_for(offline):
    address = urlsplit(offline.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n800\r\n".encode()
            + b"x" * 0x800
            + b"\r\n"
        )
        assert connection.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "sent", ["Content-Length: 9\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n"]
)
def test_body_that_does_not_come_is_not_waited_for(sent):
    with Serving(MoAConfig.load("offline"), limits=ServerLimits(body_seconds=0.2)) as serving:
        address = urlsplit(serving.url)
        with socket.create_connection(
            (address.hostname, address.port), timeout=PATIENCE
        ) as connection:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}{sent}".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 408")
    assert error(httpx.Response(408, text=body)) == "request_timeout"


@pytest.mark.parametrize("path", ["/docs", "/favicon.ico", "/v1/models/"])
def test_wrong_path_is_told_what_there_is(path, offline):
    message = http.get(offline.url + path).json()["error"]["message"]
    assert message.startswith(f"GET {path}: not found; expected /v1/chat/completions, ")
    assert message.endswith(", /v1/models, or / for a page")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/embeddings", 404, "unknown_url"),
        ("GET", "/v1/responses/resp_1", 404, "not_stored"),
        ("GET", "/v1/models/", 404, "unknown_url"),
        ("GET", "/v1/models/a/b", 404, "model_not_found"),
    ],
)
def test_other_methods_and_paths_are_told_in_openais_shape(method, path, status, code, offline):
    response = http.request(method, offline.url + path)
    assert response.status_code == status
    assert error(response) == code


@pytest.mark.parametrize("stream", [True, False])
def test_run_beyond_the_limit_is_told_to_come_again(stream, mixture, server):
    server.model("a", always="hang")
    with Serving(mixture, limits=ServerLimits(runs=1)) as serving, ThreadPoolExecutor() as pool:
        first = pool.submit(http.post, serving.url + CHAT, json=BODY)
        wait_for(lambda: server.calls_of("a"))
        response = http.post(serving.url + CHAT, json=BODY | {"stream": stream})
        assert response.status_code == 429
        assert error(response) == "too_many_runs"
        assert response.json()["error"]["type"] == "requests"
        assert int(response.headers["retry-after"]) > 0
        assert len(server.calls_of("a")) == 1
        serving.stop()
        assert first.result().status_code == 503
    wait_for(lambda: server.calls_of("a")[0].ended)


def test_place_of_a_run_is_free_when_it_is_over(mixture, server):
    with Serving(mixture, limits=ServerLimits(runs=1)) as serving:
        for stream in (True, False, True):
            response = http.post(serving.url + CHAT, json=BODY | {"stream": stream})
            assert "w on q" in response.text.replace('"}', "") or stream
            assert response.status_code == 200


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("slow", ["b", "w"])
def test_client_that_hangs_up_ends_the_calls(slow, stream, serving, server):
    server.model(slow, always="hang")
    hang_up_when(serving, lambda: server.calls_of(slow), stream=stream)
    wait_for(lambda: server.calls_of(slow)[0].ended)
    assert not server.calls_of(slow)[0].answered


def test_client_that_hangs_up_in_the_middle_of_an_answer_ends_the_call(serving, server):
    server.model("w", reply="one two three", until_token=lambda position: position < 1)
    hang_up_when(serving, lambda: server.calls_of("w"), stream=True, after=b"one")
    wait_for(lambda: server.calls_of("w")[0].ended)
    assert not server.calls_of("w")[0].answered


def hang_up_when(serving, condition, *, stream, after=b""):
    """Ask, and close the connection once something has happened."""
    address, body = urlsplit(serving.url), json.dumps(BODY | {"stream": stream})
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_for(condition)
        got = b""
        while after not in got:
            part = connection.recv(65536)
            assert part
            got += part


def test_silent_stream_is_kept_alive_by_comments(mixture, server):
    heard = threading.Event()
    server.model("a", until=heard.is_set)
    body, text = BODY | {"stream": True}, ""
    with (
        Serving(mixture, limits=ServerLimits(keep_alive=0.1)) as serving,
        http.stream("POST", serving.url + CHAT, json=body) as response,
    ):
        for part in response.iter_text():
            text += part
            if text.count("\n: ping") > 1:
                heard.set()
    silence = text.partition('"content":""')[2].partition('"content":"w')[0]
    assert silence.count("\n: ping") > 1


@pytest.mark.parametrize("stream", [True, False])
def test_server_that_stops_tells_those_who_wait(stream, mixture, server):
    server.model("b", always="hang")
    with Serving(mixture) as serving, ThreadPoolExecutor() as pool:
        body = BODY | {"stream": stream}
        asked = pool.submit(http.post, serving.url + CHAT, json=body)
        wait_for(lambda: server.calls_of("b"))
        serving.stop()
        response = asked.result()
    events = response.text.strip().removeprefix("data: ").split("\n\ndata: ")
    assert response.status_code == (200 if stream else 503)
    assert json.loads(events[-1])["error"]["code"] == "stopping"
    wait_for(lambda: server.calls_of("b")[0].ended)
    assert not server.calls_of("b")[0].answered


def test_slow_reader_does_not_hold_up_the_others(serving, server):
    server.model("w", reply="word " * 2000)
    address, body = urlsplit(serving.url), json.dumps(BODY | {"stream": True})
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as slow:
        slow.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_for(lambda: server.calls_of("w"))
        server.model("w", reply="quick")
        assert "quick" in http.post(serving.url + CHAT, json=BODY).text


def test_small_answers_are_sent_at_once():
    with (
        open_socket("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("path", ["/v1/models", "/nope", CHAT])
def test_response_has_the_id_of_its_request(path, offline):
    url = offline.url + path
    given = http.get(url, headers={"x-request-id": "a.b/C=:+-_1"})
    assert given.headers["x-request-id"] == "a.b/C=:+-_1"
    made = [http.get(url).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "\u00e9".encode(), b"a\tb"])
def test_request_id_that_cannot_stand_in_a_log_is_replaced(given, offline):
    response = http.get(f"{offline.url}/v1/models", headers={"x-request-id": given})
    assert response.headers["x-request-id"].startswith("req_")
