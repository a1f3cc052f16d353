"""Threads of the page: titles, search, deleting, files that are attached, reports."""

import httpx
import pytest
from page_client import ask, finished, refused, show, watch
from serving import Serving, memory_store
from waiting import PATIENCE, wait_for

from moa_graph import MoAConfig
from moa_graph.server.service import ServerLimits

KEY = "secret-key-1"


@pytest.fixture
def mixture(server):
    def agent(name):
        return {"model": f"openai:{name}", "base_url": server.url, "max_retries": 0}

    data = {"name": "plain", "layers": [{"a": agent("a"), "b": agent("b")}]}
    return MoAConfig.model_validate({**data, "aggregator": agent("w")})


@pytest.fixture
def held():
    """Threads that another process runs."""
    return set()


@pytest.fixture
def client(mixture, held):
    limits = ServerLimits(body=3_000_000)
    with (
        Serving(mixture, store=memory_store(held), limits=limits) as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
    ):
        yield client


def listed(client, search=None):
    threads = client.get("/api/threads", params={"search": search} if search else {}).json()
    return {thread["id"]: thread["title"] for thread in threads["threads"]}


def post(client, path, **body):
    return client.post(f"/api/{path}", json=body)


def test_thread_gets_a_title_and_gives_it_back(client):
    thread = finished(client, ask(client, "why?"))["id"]
    assert listed(client) == {thread: "why?"}
    assert (
        post(client, "rename", thread=thread, title="  The\nreason ").json()["title"]
        == "The reason"
    )
    assert listed(client) == {thread: "The reason"}
    assert show(client, thread)["title"] == "The reason"
    ask(client, "and then?", thread=thread)
    assert finished(client, thread)["title"] == "The reason"
    assert post(client, "rename", thread=thread, title=" ").json()["title"] is None
    assert listed(client) == {thread: "why?"}


def test_search_finds_words_of_titles_and_of_all_questions(client):
    first = finished(client, ask(client, "Where is the river?"))["id"]
    ask(client, "And the MOUNTAIN?", thread=first)
    finished(client, first)
    second = finished(client, ask(client, "What is a lake?"))["id"]
    post(client, "rename", thread=second, title="Waters")
    assert listed(client, "river mountain").keys() == {first}
    assert listed(client, "waters").keys() == {second}
    assert listed(client, "WHAT").keys() == {second}
    assert listed(client, "river lake") == {}
    assert listed(client, "is").keys() == {first, second}


def test_list_ends_somewhere_and_says_so(client, monkeypatch):
    monkeypatch.setattr("moa_graph.server.page_api.MAX_LISTED_THREADS", 1)
    first = finished(client, ask(client, "one"))["id"]
    assert not client.get("/api/threads").json()["more"]
    finished(client, ask(client, "two"))
    told = client.get("/api/threads").json()
    assert (len(told["threads"]), told["more"]) == (1, True)
    assert listed(client, "one").keys() == {first}


def test_deleted_thread_leaves_nothing(client):
    thread = finished(client, ask(client, "why?"))["id"]
    post(client, "rename", thread=thread, title="The reason")
    url = post(client, "report", thread=thread).json()["url"]
    assert post(client, "delete", thread=thread).status_code == 200
    assert listed(client) == {}
    refused(client.get("/api/thread", params={"id": thread}), 404, "no thread")
    refused(post(client, "delete", thread=thread), 404, "no thread")
    assert client.get(f"/{url}").status_code == 404
    again = finished(client, ask(client, "why?"))["id"]
    assert listed(client) == {again: "why?"}


def test_thread_that_runs_is_not_deleted(client, server, held):
    server.model("a", always="hang")
    thread = ask(client)
    wait_for(lambda: server.calls_of("a"))
    refused(post(client, "delete", thread=thread), 409, "already running")
    post(client, "stop", thread=thread)
    finished(client, thread)
    held.add(thread)
    refused(post(client, "delete", thread=thread), 409, "is being run by another process")
    held.clear()
    assert post(client, "delete", thread=thread).status_code == 200


def test_files_are_attached_to_a_question(client, server):
    files = [{"name": 'no"tes\n.txt', "text": "It is 42.\n"}, {"name": "b.md", "text": "# b"}]
    shown = finished(client, ask(client, "what is it?", attachments=files))
    question = shown["messages"][0]
    assert question["question"] == "what is it?"
    assert question["attachments"] == ["no'tes .txt", "b.md"]
    assert (shown["title"], shown["question"]) == ("what is it?", "what is it?")
    asked = server.calls_of("a")[0].messages[-1]["content"]
    assert '<file name="no\'tes .txt">\nIt is 42.\n</file>' in asked


@pytest.mark.parametrize(
    ("attachments", "status", "words"),
    [
        ([{"name": "a", "text": "a"}] * 21, 400, "attachments"),
        ([{"name": "", "text": "a"}], 400, "attachments[0].name"),
        ([{"name": "a", "text": 1}], 400, "attachments[0].text"),
        ([{"name": "a", "text": "a" * 2_000_001}], 413, "expected at most 2,000,000"),
    ],
)
def test_attachments_are_bounded(client, attachments, status, words):
    refused(post(client, "ask", question="q", attachments=attachments), status, words)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("rename", {"thread": "none", "title": "a"}, 404, "no thread"),
        ("rename", {"thread": "none", "title": "a" * 201}, 400, "title"),
        ("rename", {"thread": "none"}, 400, "title: required"),
        ("delete", {"thread": "none"}, 404, "no thread"),
        ("delete", {}, 400, "thread: required"),
        ("report", {"thread": "none"}, 404, "no thread"),
    ],
)
def test_bad_request_is_refused_with_a_reason(client, path, body, status, words):
    refused(post(client, path, **body), status, words)


def test_report_runs_nothing_and_is_of_the_step(client):
    thread = ask(client, "why?")
    first = finished(client, thread)
    ask(client, "and then?", thread=thread)
    finished(client, thread)
    newest = client.get("/api/report", params={"id": thread})
    assert "and then?" in newest.text
    policy = newest.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert "sandbox" in policy
    assert "script-src" not in policy
    params = {"id": thread, "checkpoint": first["steps"][-1]["id"]}
    assert "and then?" not in client.get("/api/report", params=params).text


def test_report_in_a_tab_has_an_address_that_needs_no_key(mixture):
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        Serving(mixture, store=memory_store(), api_key=KEY) as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE, headers=headers) as client,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as stranger,
    ):
        thread = ask(client, "why?")
        finished(client, thread)
        for path in (f"/api/report?id={thread}", "/api/threads"):
            assert stranger.get(path).status_code == 401
        assert stranger.post("/api/report", json={"thread": thread}).status_code == 401
        url = post(client, "report", thread=thread).json()["url"]
        assert "why?" in stranger.get(f"/{url}").text
        assert stranger.get("/report/none").status_code == 404
        foreign = {"sec-fetch-site": "cross-site"}
        assert stranger.get(f"/{url}", headers=foreign).status_code == 403


def test_rename_while_it_runs_is_kept(client, server):
    thread = ask(client, "why?")
    finished(client, thread)
    server.model("w", always="hang")
    ask(client, "and?", thread=thread)
    assert post(client, "rename", thread=thread, title="Kept").status_code == 200
    post(client, "stop", thread=thread)
    watch(client, thread) if show(client, thread)["running"] else None
    assert finished(client, thread)["title"] == "Kept"
