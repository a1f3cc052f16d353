"""What the page asks of `moa serve`: threads, steps, runs; and what it refuses."""

import asyncio
import json

import httpx
import pytest
from langchain_core.messages import RemoveMessage
from page_client import ask, finished, refused, show, watch
from serving import Serving, memory_store
from waiting import PATIENCE, wait_for

from moa_graph import MoAConfig
from moa_graph.runs.store import build_run_config
from moa_graph.server.service import ServerLimits


@pytest.fixture
def mixture(server):
    def agent(name):
        return {"model": f"openai:{name}", "base_url": server.url, "max_retries": 0}

    layer = {"a": agent("a"), "b": agent("b")}
    data = {"name": "plain", "layers": [layer, layer], "aggregator": agent("w")}
    return MoAConfig.model_validate(data)


@pytest.fixture
def held():
    """Threads that another process runs."""
    return set()


@pytest.fixture
def client(mixture, held):
    limits = ServerLimits(body=10_000, runs=1)
    with (
        Serving(mixture, store=memory_store(held), limits=limits) as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
    ):
        yield client


@pytest.mark.parametrize("unread", [False, True])
def test_thread_without_a_question_is_shown_empty(unread, mixture):
    async def empty(graph, config):
        first = await graph.ainvoke({"messages": "q"}, config)
        gone = [RemoveMessage(message.id) for message in first["messages"]]
        await graph.aupdate_state(config, {"messages": gone}, as_node="aggregator")

    store = memory_store(set())
    config = build_run_config("empty", mixture)
    asyncio.run(empty(mixture.graph().compile(checkpointer=store.checkpointer), config))
    with (
        Serving(mixture, store=store) as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
    ):
        shown = show(client, "empty")
        assert (shown["messages"], shown["finished"]) == ([], True)
        ask(client, "q", thread="empty")
        assert finished(client, "empty")["messages"][0]["text"] == "q"


def test_another_question_replaces_one_that_failed(client, server):
    server.model("w", faults=[500])
    thread = ask(client, "failed")
    assert watch(client, thread)[-1]["status"] == "failed"
    ask(client, "another", thread=thread)
    shown = finished(client, thread)
    assert [m["text"] for m in shown["messages"] if m["role"] == "human"] == ["another"]
    assert "failed" not in str(server.calls_of("a")[-1].messages)


def test_events_add_up_to_what_is_stored(client, server):
    server.model("a", reply="one two three", chunk_delay=0.1)
    thread = ask(client)
    events = watch(client, thread)
    texts = {}
    for event in events:
        for cell in event["cells"]:
            texts[cell["node"]] = cell.get(
                "text", texts.get(cell["node"], "") + cell.get("more", "")
            )
    assert events[-1]["status"] == "answered"
    shown = finished(client, thread)
    assert texts == {cell["node"]: cell["text"] for cell in shown["cells"]}
    assert [step["label"] for step in shown["steps"]] == [
        "Question",
        "Layer 1 answered",
        "Layer 1 gathered",
        "Layer 2 answered",
        "Layer 2 gathered",
        "Answer",
    ]
    assert client.get("/api/events", params={"id": thread}).status_code == 204


def test_step_shows_what_was_there_and_no_more(client):
    shown = finished(client, ask(client))
    second = show(client, shown["id"], checkpoint=shown["steps"][1]["id"])
    states = {cell["node"]: cell["status"] for cell in second["cells"]}
    assert states == {
        "layer_1_a": "answered",
        "layer_1_b": "answered",
        "layer_2_a": "waiting",
        "layer_2_b": "waiting",
        "aggregator": "waiting",
    }
    assert not second["newest"]
    assert second["steps"] == shown["steps"]


def test_turn_after_a_fork_goes_on_from_the_newest_answer(client):
    shown = finished(client, ask(client))
    body = {"thread": shown["id"], "checkpoint": shown["steps"][4]["id"]}
    assert client.post("/api/continue", json=body).status_code == 200
    forked = finished(client, shown["id"])
    assert len(forked["branches"]) == 2
    ask(client, "and then?", thread=shown["id"])
    after = finished(client, shown["id"])
    assert [step["turn"] for step in after["steps"]] == [1] * 6 + [2] * 6
    assert [m["role"] for m in after["messages"]] == ["human", "ai", "human", "ai"]


def test_half_a_character_harms_nobody(client, server):
    server.model("a", reply="half \ud83d")
    shown = finished(client, ask(client))
    assert shown["cells"][0]["text"] == "half ?"


def test_failed_start_lets_go_of_the_thread(client, server):
    server.model("a", always="hang")
    first = ask(client)
    wait_for(lambda: server.calls_of("a"))  # the question is stored
    refused(client.post("/api/ask", json={"question": "q"}), 429, "the most")
    refused(client.post("/api/resume", json={"thread": first}), 409, "already running")
    assert client.post("/api/stop", json={"thread": first}).status_code == 200
    server.model("a")
    assert client.post("/api/resume", json={"thread": first}).status_code == 200
    assert finished(client, first)["finished"]


def test_refused_continuation_changes_nothing(client, server):
    before = finished(client, ask(client))
    server.model("a", always="hang")
    busy = ask(client)
    step = next(step for step in before["steps"] if step["label"] == "Layer 1 answered")
    edits = {"layer_1_a": {"action": "drop"}}
    body = {"thread": before["id"], "checkpoint": step["id"], "edits": edits}
    refused(client.post("/api/continue", json=body), 429, "the most")
    assert show(client, before["id"])["steps"] == before["steps"]
    client.post("/api/stop", json={"thread": busy})


def test_thread_of_another_process_is_refused(client, held):
    thread = finished(client, ask(client))["id"]
    held.add(thread)
    body = {"question": "q", "thread": thread}
    refused(client.post("/api/ask", json=body), 409, "is being run by another process")


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("ask", {"question": "  "}, 400, "question: empty"),
        ("ask", {"question": 1}, 400, "question: expected a string"),
        ("ask", {"question": "q", "more": 1}, 400, "more: unknown"),
        ("ask", {"question": "q", "thread": "none"}, 404, "no thread 'none'"),
        ("ask", {"question": "q", "mixture": "none"}, 404, "expected one of: plain"),
        ("ask", {"question": "q" * 20_000}, 413, "more than 10,000 bytes"),
        ("ask", [], 400, "expected an object, got list"),
        ("stop", {"thread": "none"}, 409, "is not running"),
        ("stop", {}, 400, "thread: required"),
        ("resume", {"thread": "none"}, 404, "no thread"),
        ("continue", {"thread": "none", "checkpoint": "1"}, 404, "no thread"),
    ],
)
def test_bad_request_is_refused_with_a_reason(client, path, body, status, words):
    refused(client.post(f"/api/{path}", json=body), status, words)


def test_step_that_does_not_fit_is_refused(client):
    shown = finished(client, ask(client))
    steps = {step["label"]: step["id"] for step in shown["steps"]}

    def go_on(label, edits):
        body = {"thread": shown["id"], "checkpoint": steps.get(label, label), "edits": edits}
        return client.post("/api/continue", json=body)

    drop = {"layer_1_a": {"action": "drop"}}
    empty = {"layer_1_a": {"action": "edit", "text": " "}}
    refused(client.post("/api/resume", json={"thread": shown["id"]}), 409, "already answered")
    refused(go_on("Answer", {}), 409, "the answer")
    refused(go_on("Layer 2 answered", drop), 409, "'layer_1_a' cannot be changed at this step")
    refused(go_on("Layer 1 answered", {"x": {"action": "drop"}}), 409, "'x' cannot be changed")
    refused(go_on("Layer 1 answered", empty), 400, "is empty")
    refused(go_on("nowhere", {}), 404, "no checkpoint 'nowhere'")
    refused(client.get("/api/thread"), 400, "id: required")
    assert len(show(client, shown["id"])["branches"]) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"host": "evil.example"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_other_sites_cannot_ask(client, server, headers, status):
    body = json.dumps({"question": "q"})
    headers = {"content-type": "application/json"} | headers
    assert client.post("/api/ask", content=body, headers=headers).status_code == status
    assert not server.calls


def test_page_comes_with_a_strict_policy_and_is_cached(client):
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert client.get("/page/page.js").headers["content-type"].startswith("text/javascript")
    again = client.get("/", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/page/..%2fapp.py").status_code == 404
    assert client.get("/page/__init__.py").status_code == 404


def test_page_is_open_and_its_api_wants_the_key(mixture):
    with (
        Serving(mixture, store=memory_store(), api_key="secret-key-1") as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
    ):
        assert client.get("/").status_code == 200
        assert client.get("/page/page.css").status_code == 200
        assert client.get("/api/threads").status_code == 401
        headers = {"authorization": "Bearer secret-key-1"}
        assert client.get("/api/threads", headers=headers).status_code == 200


def test_turns_that_were_left_out_are_told(client, server):
    for name in "abw":
        server.model(name, reply="short", context=1000)
    thread = ask(client, "first " * 500)
    assert finished(client, thread)["notice"] is None
    ask(client, "second " * 500, thread=thread)
    watch(client, thread)
    view = finished(client, thread)
    assert (view["error"], len(view["messages"])) == (None, 4)
    assert "2 earlier messages were left out" in view["notice"]


@pytest.fixture
def continue_from(server, mixture):
    """Serve the mixture with options, ask, and go on from a step with edits; give what is asked."""

    def run(label, edits, **options):
        told = json.dumps({"consensus": ["All say so."]})
        server.model("analyst", reply=told)
        server.model("v", reply="2 > 1")
        data = mixture.model_dump() | {"layers": mixture.model_dump()["layers"][:1]} | options
        changed = MoAConfig.model_validate(data)
        with (
            Serving(changed, store=memory_store(set())) as serving,
            httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
        ):
            shown = finished(client, ask(client))
            steps = {step["label"]: step["id"] for step in shown["steps"]}
            before = len(server.calls)
            body = {"thread": shown["id"], "checkpoint": steps[label], "edits": edits}
            response = client.post("/api/continue", json=body)
            assert response.status_code == 200, response.text
            after = finished(client, shown["id"])
            return [*steps], server.calls[before:], after

    return run


def named(server, name):
    return {"model": f"openai:{name}", "base_url": server.url, "max_retries": 0}


EDITED = {"action": "edit", "text": "the edited text"}
AGAIN = {"action": "again"}


@pytest.mark.parametrize(("edit", "calls"), [(EDITED, ["w"]), (AGAIN, ["w", "w"])])
def test_a_window_is_edited_as_a_proposal_is(edit, calls, continue_from):
    options = {"aggregation": "sequential", "references_per_window": 1}
    labels, asked, _ = continue_from("Window 1 answered", {"window_1": edit}, **options)
    assert labels == [
        "Question",
        "Layer 1 answered",
        "Layer 1 gathered",
        "Window 1 answered",
        "Answer",
    ]
    assert [call.model for call in asked] == calls
    assert ("the edited text" in str(asked[-1].messages)) is (edit is EDITED)


def test_a_ballot_is_edited_as_a_proposal_is(continue_from, server):
    options = {"aggregation": "vote", "voters": {"v": named(server, "v")}}
    edits = {"vote_v": {"action": "edit", "text": "layer_1_a\nlayer_1_b"}}
    labels, asked, shown = continue_from("Vote answered", edits, **options)
    assert "Vote answered" in labels
    assert asked == []
    assert shown["messages"][-1]["text"] == "a on why?"


@pytest.mark.parametrize(
    ("edit", "calls"),
    [({"action": "edit", "text": '{"consensus": ["Oaks."]}'}, ["w"]), (AGAIN, ["analyst", "w"])],
)
def test_an_analysis_is_edited_as_a_proposal_is(edit, calls, continue_from, server):
    analysis = named(server, "analyst")
    _, asked, _ = continue_from("Analysis answered", {"analysis": edit}, analysis=analysis)
    assert [call.model for call in asked] == calls
    assert ("Oaks." in str(asked[-1].messages)) is (edit is not AGAIN)


def test_an_analysis_that_is_none_is_refused(continue_from, server):
    edits = {"analysis": {"action": "edit", "text": "Oaks."}}
    with pytest.raises(AssertionError, match="must be a JSON object with consensus"):
        continue_from("Analysis answered", edits, analysis=named(server, "analyst"))
