"""A server, the models behind it, and a browser before it."""

import re
import threading
from urllib.parse import urlsplit

import pytest
from browser import chromium
from pages import ANSWER, serve, write_mixture
from playwright.sync_api import expect
from server import ChatServer
from waiting import PATIENCE


@pytest.fixture(scope="module")
def models():
    """The provider of all models."""
    with ChatServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(models):
    """Let every model answer at once, until a test says otherwise."""
    models.calls.clear()
    models.models.clear()
    models.model("w", reply=ANSWER)


@pytest.fixture
def seen():
    """Whether the test has seen what it wants to see."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def half(seen):
    """How a model streams that says no more than nine words before that."""
    return {"until_token": lambda position: position < 9 or seen.is_set()}


@pytest.fixture(scope="module")
def site(models, tmp_path_factory):
    """The address of a server with a plain, a hasty and a wide mixture, and its database."""
    folder = tmp_path_factory.mktemp("site")
    pair = [["a", "b"], ["a", "b"]]
    wide = [[f"m{number}" for number in range(12)]] * 4
    files = [
        write_mixture(folder, models.url, "plain", pair, 'prices = {"openai:a" = [1000, 1000]}'),
        write_mixture(folder, models.url, "hasty", pair, "grace = 0.3"),
        write_mixture(folder, models.url, "wide", wide),
    ]
    words = [word for path in files for word in ("--config", path)]
    with serve(folder, *words) as url:
        yield url, folder / "runs.sqlite"


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def new_page(browser):
    """Open pages which may neither complain nor ask anybody but their server."""
    contexts, complaints = [], []

    def make(url, **options):
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: m.type in {"error", "warning"} and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", answer_dialog)
        page.on("request", lambda request: check_host(request.url, url))
        page.goto(url)
        expect(page.locator("#mixes .opt")).not_to_have_count(0)
        return page

    def answer_dialog(dialog):
        if dialog.type != "beforeunload":
            complaints.append(dialog.message)
        dialog.accept()

    def check_host(asked, url):
        if urlsplit(asked).netloc not in {urlsplit(url).netloc, ""}:
            complaints.append(f"asked for {asked}")

    make.complaints = complaints
    yield make
    for context in contexts:
        context.close()
    expected = re.compile("the server responded with a status of 4(01|04|09)")
    assert [each for each in complaints if not expected.search(each)] == []


@pytest.fixture
def page(site, new_page):
    return new_page(site[0])
