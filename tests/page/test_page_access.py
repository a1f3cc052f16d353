"""Access to the page, and its handling of the key."""

import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest
from pages import answered, ask, serve, write_mixture
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def token_site(models, tmp_path_factory):
    """The address of a server that was started without a key."""
    folder = tmp_path_factory.mktemp("token")
    path = write_mixture(folder, models.url, "plain", [["a"]])
    with serve(folder, "--config", path, access=()) as url:
        yield url


@contextmanager
def other_server(html):
    """A server on another port of the same host, and the requests that it gets."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, dict(self.headers)))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", requests
        finally:
            running.shutdown()
            thread.join()


def split_token(url):
    parts = urlsplit(url)
    (token,) = re.findall("^token=(.+)$", parts.query)
    return f"{parts.scheme}://{parts.netloc}", token


def test_printed_address_opens_the_page_which_keeps_the_token_in_its_tab(token_site, new_page):
    site, token = split_token(token_site)
    page = new_page(token_site)
    assert page.url == f"{site}/"
    sent = []
    page.on("request", lambda request: sent.append((request.url, request.headers)))
    ask(page)
    answered(page)
    page.reload()
    answered(page)
    expect(page.locator("#key-dialog")).to_be_hidden()
    assert token not in page.url
    assert token not in page.content()
    assert sent
    assert not [
        url for url, headers in sent if token in url or token in str(headers.get("referer"))
    ]
    assert page.context.cookies() == []
    assert page.evaluate("Object.values(localStorage)") == []
    stored = page.evaluate("Object.values(sessionStorage)")
    assert [value for value in stored if value] == [token]  # the question that is not sent is empty


def test_server_of_another_port_does_not_get_the_token(token_site, browser):
    _, token = split_token(token_site)
    context = browser.new_context()
    page = context.new_page()
    page.goto(token_site)
    expect(page.locator("#mixes .opt")).not_to_have_count(0)
    with other_server("<p>other</p>") as (other, requests):
        page.evaluate("address => { location.href = address }", other)
        expect(page.locator("p")).to_have_text("other")
        assert page.evaluate("sessionStorage.length") == 0
    assert requests
    assert not [each for each in requests if token in str(each)]
    path, headers = requests[0]
    assert path == "/"
    assert not headers.keys() & {"Referer", "Cookie"}
    context.close()


def test_another_tab_asks_for_the_token(token_site, browser):
    site, token = split_token(token_site)
    context = browser.new_context()
    page = context.new_page()
    page.goto(site)
    expect(page.locator("#key-dialog")).to_be_visible()
    expect(page.locator("#key-dialog")).to_contain_text("moa serve")
    page.fill("#key", token)
    page.press("#key", "Enter")
    expect(page.locator("#mixes .opt")).not_to_have_count(0)
    context.close()


def test_page_is_not_framed_and_nothing_of_it_is_read_by_another_port(site, browser):
    """The server has no key, and the other page is one of the same host."""
    html = f"""<iframe src="{site[0]}"></iframe><img src="{site[0]}/api/threads">
      <script>
        const told = (path) => fetch("{site[0]}" + path).then((r) => r.text(), () => "refused");
        Promise.all(["/api/threads", "/v1/models", "/health"].map(told))
          .then((texts) => {{ document.title = texts.join(); }});
      </script>"""
    context = browser.new_context()
    page = context.new_page()
    with other_server(html) as (other, _):
        page.goto(other)
        expect(page).to_have_title("refused,refused,refused")
        frame = page.frames[1]
        assert not frame.url.startswith(site[0])
        assert "Mixture-of-Agents" not in frame.content()
    log = (site[1].parent / "log.txt").read_text()
    assert "GET /api/threads - 403 foreign_origin" in log
    assert "GET /v1/models - 403 foreign_origin" in log
    context.close()


def test_page_stands_under_a_prefix_and_lets_another_site_use_the_api_alone(
    models, tmp_path, browser, new_page
):
    path = write_mixture(tmp_path, models.url, "plain", [["a"]])
    with other_server("") as (other, _):
        words = ["--root-path", "/moa", "--allow-origin", other]
        with serve(tmp_path, "--config", path, *words) as url:
            assert url.endswith("/moa")
            page = new_page(url)
            assert page.url == f"{url}/"
            ask(page)
            answered(page)
            foreign = browser.new_page()
            foreign.goto(other)
            told = """([url, path]) => fetch(url + path, {
                headers: { "x-other": "1", authorization: "Bearer any" },
              }).then((response) => response.headers.get("x-request-id"), () => "refused")"""
            assert foreign.evaluate(told, [url, "/v1/models"]).startswith("req_")
            assert foreign.evaluate(told, [url, "/api/threads"]) == "refused"
            foreign.close()
