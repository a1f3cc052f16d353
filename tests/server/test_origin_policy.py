"""From where the server may be used: names, pages of other sites, and prefixes of proxies."""

import pytest
from serving import Serving, http, memory_store

from moa_graph import MoAConfig

KEY = "MARKED-9f3b77c1d2-KEY"
CHAT, MODELS = "/v1/chat/completions", "/v1/models"
BODY = {"model": "offline", "messages": [{"role": "user", "content": "Who? Ada did."}]}
PAGE = "http://localhost:3000"
APPS = ["app://obsidian.md", "tauri://localhost", "chrome-extension://abcdef", "null"]
ORIGINS = [PAGE, "https://chat.example.org/", *APPS]


@pytest.fixture(scope="module")
def locked():
    """A server with a key that lets pages of other sites in."""
    access = {"api_key": KEY, "origins": ORIGINS, "store": memory_store()}
    with Serving(MoAConfig.load("offline"), **access) as running:
        yield running


@pytest.fixture(scope="module")
def named():
    """A server without a key that is reached under names, and under a prefix."""
    hosts = {"hosts": ["thisbox"], "allowed_hosts": ["moa", "moa.lan", "Moa.lan:8443", "*.local"]}
    store = memory_store()
    with Serving(MoAConfig.load("offline"), **hosts, store=store, root_path="/moa") as running:
        yield running


def preflight(url, origin, method="POST", **headers):
    asked = {"origin": origin, "access-control-request-method": method}
    asked |= {f"access-control-request-{name}": value for name, value in headers.items()}
    return http.options(url, headers=asked)


def cors(response):
    prefix = "access-control-"
    names = [name for name in response.headers if name.startswith(prefix)]
    return {name.removeprefix(prefix): response.headers[name] for name in names}


@pytest.mark.parametrize(
    "origin", [PAGE, "https://chat.example.org", "HTTP://LOCALHOST:3000", *APPS]
)
def test_preflight_of_a_page_that_is_let_in_needs_no_key(origin, locked):
    wanted = "authorization,content-type,x-stainless-retry-count,anthropic-version"
    response = preflight(locked.url + CHAT, origin, headers=wanted)
    told = cors(response)
    assert response.status_code == 200
    assert told["allow-origin"] == origin
    assert told["allow-headers"] == wanted
    assert "POST" in told["allow-methods"]
    assert "allow-credentials" not in told


def test_page_that_is_let_in_reads_answers_and_refusals_with_their_headers(locked):
    headers = {"origin": PAGE, "sec-fetch-site": "cross-site"}
    shown = headers | {"authorization": f"Bearer {KEY}"}
    answer = http.post(locked.url + CHAT, json=BODY, headers=shown)
    refusal = http.post(locked.url + CHAT, json=BODY, headers=headers)
    assert (answer.status_code, refusal.status_code) == (200, 401)
    for response in (answer, refusal):
        assert cors(response) == {"allow-origin": PAGE, "expose-headers": "*"}
        assert "Origin" in response.headers["vary"]
        assert response.headers["x-request-id"]


@pytest.mark.parametrize("origin", ["http://localhost:3001", "https://localhost:3000", "app://x"])
def test_page_of_another_origin_is_refused_as_ever(origin, locked):
    for response in (
        preflight(locked.url + CHAT, origin),
        http.post(locked.url + CHAT, json=BODY, headers={"origin": origin}),
    ):
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "foreign_origin"
        assert "allow-origin" not in cors(response)


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/api/threads", "/api/ask", "/health"])
def test_page_that_is_let_in_gets_the_api_alone(path, locked):
    assert preflight(locked.url + path, PAGE, "GET").status_code == 403
    headers = {"origin": PAGE, "authorization": f"Bearer {KEY}"}
    response = http.get(locked.url + path, headers=headers)
    assert response.status_code == 403
    assert cors(response) == {}


def test_what_a_page_that_is_let_in_embeds_is_refused(locked):
    """An image, or a script: a browser sends no origin, and the page reads nothing."""
    headers = {"sec-fetch-site": "cross-site", "authorization": f"Bearer {KEY}"}
    assert http.get(locked.url + MODELS, headers=headers).status_code == 403


def test_star_lets_every_page_in_without_what_the_browser_keeps():
    with Serving(MoAConfig.load("offline"), origins=["*"]) as serving:
        for origin in ("https://any.example", "null"):
            answer = http.get(serving.url + MODELS, headers={"origin": origin})
            for response in (answer, preflight(serving.url + CHAT, origin)):
                assert response.status_code == 200
                assert cors(response)["allow-origin"] == "*"
                assert "allow-credentials" not in cors(response)
        headers = {"origin": "https://any.example", "host": "any.example"}
        assert http.get(serving.url + MODELS, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[(host, 200) for host in ("moa:8000", "MOA", "moa.lan", "a.local:80", "thisbox")],
        *[(host, 403) for host in ("local", "xmoa", "moa.lan.evil.com", "a.local.evil.com", "*")],
    ],
)
def test_names_that_the_operator_gives_are_known(host, status, named):
    assert http.get(named.url + MODELS, headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        ("http://moa.lan", None, 200),
        ("https://moa.lan:8443", None, 200),
        ("https://other.example", "same-origin", 200),
        ("http://moa.lan:8000", None, 403),
        ("http://printer.local", None, 403),
        ("http://thisbox", None, 403),
        ("https://other.example", "cross-site", 403),
        ("https://other.example", None, 403),
    ],
)
def test_page_works_where_a_proxy_names_another_host(origin, site, status, named):
    """As with nginx's own default: the host is the upstream's, the page has another."""
    headers = {"origin": origin, "host": "127.0.0.1:8000"}
    headers |= {"sec-fetch-site": site} if site else {}
    response = http.post(f"{named.url}/api/ask", json={"question": "Who? Ada."}, headers=headers)
    assert response.status_code == status, response.text


def test_any_name_can_be_let_in():
    with Serving(MoAConfig.load("offline"), allowed_hosts=["*"]) as serving:
        assert http.get(serving.url + MODELS, headers={"host": "any.where"}).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/moa"])
def test_proxy_may_leave_the_prefix_or_take_it_off(prefix, named):
    url = named.url + prefix
    assert http.get(f"{url}/health").json() == {"status": "ok"}
    assert http.get(f"{url}{MODELS}/offline").json()["id"] == "offline"
    assert http.post(url + CHAT, json=BODY).json()["choices"]
    assert http.get(f"{url}/api/mixtures").json()["mixtures"]
    page = http.get(f"{url}/").text
    assert 'src="page/page.js"' in page
    assert '"/' not in page.partition("<body>")[0]
    assert http.get(f"{url}/page/page.js").status_code == 200


def test_bare_prefix_leads_to_the_page_with_its_token(named):
    response = http.get(f"{named.url}/moa?token=x")
    assert (response.status_code, response.headers["location"]) == (307, "/moa/?token=x")


@pytest.mark.parametrize("path", ["/moax/v1/models", "/moa/moa/v1/models", "/other/v1/models"])
def test_other_prefixes_are_not_found(path, named):
    assert http.get(named.url + path).status_code == 404


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"origins": ["localhost:3000"]}, "expected an origin such as"),
        ({"origins": ["http://localhost:3000/chat"]}, "got 'http://localhost:3000/chat'"),
        ({"origins": ["http://*.example.org"]}, "expected an origin"),
        ({"origins": [""]}, "expected an origin"),
        ({"allowed_hosts": ["http://moa"]}, "expected a name such as 'moa'"),
        ({"allowed_hosts": ["*.", "m*a"]}, "expected a name"),
        ({"allowed_hosts": [" "]}, "expected a name"),
    ],
)
def test_what_can_be_of_no_request_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Serving(MoAConfig.load("offline"), **options)
