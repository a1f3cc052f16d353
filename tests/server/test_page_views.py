"""What the page is told of a turn: how it fared, who did what, and how proposals compare."""

import sys
from contextlib import contextmanager
from threading import Event
from time import time

import httpx
import pytest
from page_client import ask, finished, refused, show, watch
from serving import Serving, memory_store
from waiting import PATIENCE, wait_for

from moa_graph import MoAConfig

HOUR = 3600  # seconds
LONG = " ".join(f"word{number}" for number in range(60))
LAYOUT = "So **it** is [here](javascript:alert(1)) <b>now</b>.\n\n- one\n- two"


@pytest.fixture
def agent(server):
    def make(name, **options):
        return {"model": f"openai:{name}", "base_url": server.url, "max_retries": 0, **options}

    return make


@pytest.fixture
def serve(agent):
    """Serve a mixture of two layers of `a`, `b` and `c`; `w` writes."""

    @contextmanager
    def start(**options):
        layer = {"a": agent("a"), "b": agent("b"), "c": agent("c")}
        data = {"name": "plain", "layers": [layer, layer], "aggregator": agent("w"), **options}
        mixture = MoAConfig.model_validate(data)
        with (
            Serving(mixture, store=memory_store()) as serving,
            httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
        ):
            yield client

    return start


@pytest.fixture
def client(serve):
    with serve(quorum=2) as client:
        yield client


def cells(shown):
    return {cell["node"]: cell for cell in shown["cells"]}


def step_of(shown, label):
    return next(step["id"] for step in shown["steps"] if step["label"] == label)


def go_on(client, shown, label, **edits):
    body = {"thread": shown["id"], "checkpoint": step_of(shown, label), "edits": edits}
    assert client.post("/api/continue", json=body).status_code == 200
    watch(client, shown["id"])
    return finished(client, shown["id"])


def test_what_models_wrote_is_laid_out_and_what_was_asked_is_not(client, server):
    server.model("a", reply=LAYOUT)
    server.model("w", reply=LAYOUT)
    shown = finished(client, ask(client, "**why?**"))
    question, answer = shown["messages"]
    assert "html" not in question
    assert answer["html"] == cells(shown)["layer_1_a"]["html"]
    assert answer["html"][0].startswith('<p dir="auto">So <strong>it</strong> is [here](javascript')
    assert answer["html"][1].startswith('<ul dir="auto">')


def test_events_add_up_to_the_same_layout(client, server):
    reply = "# One\n\nTwo *three*\n\n```python\nfour = 4\n\nfive\n```\n\n1. six\n2. seven\n"
    server.model("w", reply=reply * 3, chunk_delay=0.005)
    thread = ask(client)
    blocks, texts = {}, {}
    for event in watch(client, thread):
        for cell in event["cells"]:
            node = cell["node"]
            texts[node] = cell["text"] if "text" in cell else texts[node] + cell["more"]
            if "html" in cell:
                blocks[node] = cell["html"]
            elif "html_more" in cell:
                blocks[node] = blocks[node][: cell["html_from"]] + cell["html_more"]
    shown = finished(client, thread)
    assert blocks == {node: cell["html"] for node, cell in cells(shown).items()}
    assert texts == {node: cell["text"] for node, cell in cells(shown).items()}


def test_answer_of_all_is_answered(client):
    shown = finished(client, ask(client))
    assert (shown["outcome"], shown["degraded"], shown["failure"]) == ("answered", None, None)
    assert shown["tokens"] > 0
    first = show(client, shown["id"], checkpoint=shown["steps"][1]["id"])
    assert first["outcome"] is None
    (thread,) = client.get("/api/threads").json()["threads"]
    assert (thread["outcome"], thread["turns"]) == ("answered", 1)


def test_answer_of_fewer_is_degraded_and_says_who_failed(client, server):
    server.model("b", always=500)
    shown = finished(client, ask(client))
    assert shown["outcome"] == "degraded"
    assert [reason.split(" failed: ")[0] for reason in shown["degraded"]] == [
        "b (openai:b) of layer 1",
        "b (openai:b) of layer 2",
    ]
    assert client.get("/api/threads").json()["threads"][0]["outcome"] == "degraded"


def test_answer_that_is_cut_off_is_degraded(client, server):
    server.model("w", reply="so", finish_reason="length")
    shown = finished(client, ask(client))
    assert (shown["outcome"], len(shown["degraded"])) == ("degraded", 1)
    assert shown["degraded"][0].startswith("the answer is cut off")
    assert client.get("/api/threads").json()["threads"][0]["outcome"] == "degraded"


def test_lost_quorum_says_whose_what_is_kept_and_what_helps(client, server):
    for name in "bc":
        server.model(name, always=500)
    thread = ask(client)
    watch(client, thread)
    shown = finished(client, thread)
    failure = shown["failure"]
    assert shown["outcome"] == "failed"
    assert failure["what"].startswith("layer 1: 1 of 3 proposers answered, 2 ")
    assert failure["whose"] == "b (openai:b) of layer 1, c (openai:c) of layer 1"
    assert failure["kept"] == "the question and 1 proposal; Resume does not repeat them"
    assert failure["remedy"] == "Resume asks b, c again, and no other agent"
    assert failure["asks"] == ["layer_1_b", "layer_1_c"]
    for name in "bc":
        server.model(name)
    asked = len(server.calls_of("a"))
    assert client.post("/api/resume", json={"thread": thread}).status_code == 200
    watch(client, thread)
    shown = finished(client, thread)
    assert (shown["outcome"], shown["failure"]) == ("answered", None)
    assert len(server.calls_of("a")) == asked + 1  # of the second layer


def test_failed_aggregator_is_named_and_asked_alone(client, server):
    server.model("w", always=500)
    thread = ask(client)
    watch(client, thread)
    failure = finished(client, thread)["failure"]
    assert failure["whose"] == "aggregator (openai:w)"
    assert failure["remedy"] == "Resume asks the aggregator again, and no proposer"
    assert failure["asks"] == ["aggregator"]
    assert client.get("/api/threads").json()["threads"][0]["outcome"] == "failed"


def test_fallback_is_named(serve, agent, server):
    server.model("w", always=500)
    with serve(fallbacks=[agent("x")]) as client:
        shown = finished(client, ask(client))
    assert shown["outcome"] == "degraded"
    assert cells(shown)["aggregator"]["fallback"] == "openai:x"
    assert shown["degraded"][0].startswith("openai:x wrote in place of openai:w, which failed:")


def test_answer_of_a_router_is_whole_and_of_no_fallback(serve, agent, server):
    server.model("r", reply='{"route": "easy"}')
    with serve(router={"model": agent("r"), "easy": agent("x")}) as client:
        thread = ask(client)
        watched = [each for event in watch(client, thread) for each in event["cells"]]
        shown = finished(client, thread)
    assert [each["fallback"] for each in watched if each["node"] == "aggregator"][-1] is None
    assert cells(shown)["aggregator"]["fallback"] is None
    assert (shown["outcome"], shown["degraded"]) == ("answered", None)
    assert shown["notice"] == "The router sent the question to a single model (openai:r: easy)"


@pytest.mark.parametrize(
    ("aggregation", "how"),
    [("select", "was selected"), ("vote", "won the vote with 1.00 points of at most 1")],
)
def test_whose_proposal_is_the_answer_is_said(aggregation, how, serve, agent, server):
    for name in ("w", "v"):
        server.model(name, reply="2" if aggregation == "select" else "1 > 2 > 3")
    voters = {"voters": {"v": agent("v")}} if aggregation == "vote" else {}
    with serve(aggregation=aggregation, **voters) as client:
        shown = finished(client, ask(client))
    won = shown["messages"][-1]["text"].split()[0]
    assert shown["notice"].startswith(f"The proposal of {won} {how}; it is the answer")


def test_stopped_turn_is_no_failure(client, server):
    server.model("w", always="hang")
    thread = ask(client)
    wait_for(lambda: server.calls_of("w"))
    client.post("/api/stop", json={"thread": thread})
    shown = finished(client, thread)
    assert (shown["outcome"], shown["failure"], shown["error"]) == ("stopped", None, None)
    stopped = [node for node, cell in cells(shown).items() if cell["stopped"]]
    assert stopped == ["aggregator"]  # although it had written nothing


def test_calls_stand_in_time(client):
    shown = cells(finished(client, ask(client)))
    assert min(cell["began"] for cell in shown.values()) == 0
    first = max(shown[f"layer_1_{name}"]["began"] for name in "abc")
    assert all(first <= shown[f"layer_2_{name}"]["began"] for name in "abc")
    assert all(cell["served_model"] for cell in shown.values())


def test_edited_proposal_is_marked_and_what_was_there_is_reused(client):
    shown = finished(client, ask(client))
    edit = {"action": "edit", "text": "a person's words"}
    edited = go_on(client, shown, "Layer 1 answered", layer_1_a=edit)
    assert cells(edited)["layer_1_a"]["edited"]
    reused = {node for node, cell in cells(edited).items() if cell["reused"]}
    assert reused == {"layer_1_a", "layer_1_b", "layer_1_c"}
    before = show(client, shown["id"], checkpoint=step_of(shown, "Layer 1 answered"))
    assert not any(cell["edited"] or cell["reused"] for cell in before["cells"])
    again = go_on(client, edited, "Layer 1 edited", layer_1_a={"action": "again"})
    assert not cells(again)["layer_1_a"]["edited"]


def test_what_a_person_drops_is_no_failure(client):
    shown = finished(client, ask(client))
    edit = {"action": "edit", "text": "a person's words"}
    after = go_on(client, shown, "Layer 1 answered", layer_1_a=edit, layer_1_b={"action": "drop"})
    assert (after["outcome"], after["degraded"]) == ("answered", None)
    assert after["notice"].startswith("A person edited a in layer 1 and dropped b in layer 1; ")
    assert cells(after)["layer_1_b"]["status"] == "dropped"
    (thread,) = client.get("/api/threads").json()["threads"]
    assert (thread["outcome"], thread["state"]) == ("answered", "answered")
    report = client.get("/api/report", params={"id": shown["id"]}).text
    assert "one proposal dropped by a person: b in layer 1" in report
    assert "Degraded" not in report


def test_proposal_that_is_asked_for_again_says_so(client, server):
    shown = finished(client, ask(client))
    server.model("a", always="hang")
    body = {
        "thread": shown["id"],
        "checkpoint": step_of(shown, "Layer 1 answered"),
        "edits": {"layer_1_a": {"action": "again"}},
    }
    client.post("/api/continue", json=body)
    wait_for(lambda: len(server.calls_of("a")) == 2)  # a run without calls has no interrupted one
    client.post("/api/stop", json={"thread": shown["id"]})
    steps = finished(client, shown["id"])["steps"]
    marked = next(step for step in steps if step["label"] == "Layer 1 edited")
    cell = cells(show(client, shown["id"], checkpoint=marked["id"]))["layer_1_a"]
    assert (cell["status"], cell["error"]) == ("asked again", None)
    (thread,) = client.get("/api/threads").json()["threads"]
    assert (thread["outcome"], thread["state"]) == ("stopped", "interrupted")


def test_who_differs_is_told_by_the_names_of_agents(client, server):
    for name, reply in (("a", "$x^2$"), ("b", "$x^2$"), ("c", "41")):
        server.model(name, reply=reply)
    agreement = finished(client, ask(client))["agreement"]
    assert agreement["figure"] == pytest.approx(2 / 3, abs=1e-3)
    assert agreement["dissent"][0] == {"claim": "$x^2$", "for": ["a", "b"], "against": ["c"]}
    assert agreement["html"]["$x^2$"].startswith('<span dir="auto"><span class="formula"')
    assert agreement["analysis"] is None


def test_depth_tells_what_was_not_asked(serve, server):
    for name in "abc":
        server.model(name, reply="42")
    prices = {f"openai:{name}": [1000, 1000] for name in "abc"}
    with serve(early_stop=0.9, prices=prices) as client:
        shown = finished(client, ask(client))
    assert "; 3 proposers were not called, which saved at least ~$0.0" in shown["notice"]
    assert (shown["depth"]["layers"], shown["depth"]["of"], shown["depth"]["skipped"]) == (1, 2, 3)
    assert {cell["status"] for cell in shown["cells"] if cell["layer"] == 2} == {"skipped"}


def proposal(client, shown, node, **more):
    return client.get("/api/proposal", params={"id": shown["id"], "node": node, **more})


def test_formulas_are_compared_as_a_whole(client, server):
    words = iter([r"(it is $\frac{a}{b}$).", r"(it is $\frac{a}{c}$)."])
    server.model("a", reply=lambda _: next(words))
    for name in ("b", "w"):
        server.model(name, reply="six seven eight")
    since = proposal(client, finished(client, ask(client)), "layer_2_a").json()["since"]
    del_, ins = since.split("</del>")
    assert "<del><span" in del_
    assert "<mfrac><mi>a</mi><mi>b</mi></mfrac>" in del_
    assert "<ins><math><mfrac><mi>a</mi><mi>c</mi></mfrac></math></ins>" in ins


def test_proposal_is_compared_with_the_answer_and_with_the_one_before(client, server):
    words = iter(["one two three four", "one two three *five* four"])
    server.model("a", reply=lambda _: next(words))
    server.model("b", reply="six seven eight")
    server.model("w", reply="**one two three** and nothing else but six seven eight")
    shown = finished(client, ask(client))
    told = proposal(client, shown, "layer_2_a").json()
    assert told["text"] == "one two three *five* four"
    assert told["html"] == '<p dir="auto">one two three <em>five</em> four</p>'
    assert told["in_answer"].startswith('<p dir="auto"><mark>one two three</mark> <em>')
    assert '<mark data-who="layer_2_a">one two three</mark>' in told["answer"][0]
    assert '<mark data-who="layer_2_b">six seven eight</mark>' in told["answer"][0]
    assert told["share"] == pytest.approx(3 / 10)
    assert told["since"] == '<p dir="auto">one two three <em><ins>five</ins></em> four</p>'
    first = proposal(client, shown, "layer_1_a").json()
    assert first["since"] is None
    answer = proposal(client, shown, "aggregator").json()
    assert answer["html"].startswith('<p dir="auto"><strong>one two three</strong>')
    assert (answer["in_answer"], answer["share"], answer["since"]) == (None, None, None)


def test_proposal_at_an_earlier_step_has_no_answer(client):
    shown = finished(client, ask(client))
    step = shown["steps"][1]["id"]
    told = proposal(client, shown, "layer_1_a", checkpoint=step).json()
    assert (told["answer"], told["in_answer"], told["share"]) == (None, None, None)
    refused(
        proposal(client, shown, "layer_2_a", checkpoint=step), 404, "no proposal of 'layer_2_a'"
    )
    refused(proposal(client, shown, "nobody"), 404, "no proposal of 'nobody'")
    refused(client.get("/api/proposal", params={"id": shown["id"]}), 400, "node: required")


def test_mixtures_are_shown_with_their_models(serve, agent, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-test-0123456789abcdef")
    with serve(fallbacks=[agent("x", api_key_env="MY_KEY")], quorum=2) as client:
        (mixture,) = client.get("/api/mixtures").json()["mixtures"]
        monkeypatch.delenv("MY_KEY")
        (without,) = client.get("/api/mixtures").json()["mixtures"]
    assert [layer["needed"] for layer in mixture["layers"]] == [2, 2]
    assert mixture["layers"][0]["agents"][0] == {"name": "a", "model": "openai:a", "samples": 1}
    assert (mixture["aggregator"], mixture["fallbacks"]) == ("openai:w", ["openai:x"])
    assert (mixture["router"], mixture["early_stop"], mixture["missing_keys"]) == (False, None, [])
    assert without["missing_keys"] == ["MY_KEY"]


def test_mixture_without_its_key_is_shown_last_and_not_asked():
    offline, keyless = MoAConfig.load("offline"), MoAConfig.load("together")
    with (
        Serving(offline, store=memory_store(), without_keys=[keyless]) as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
    ):
        mixtures = client.get("/api/mixtures").json()["mixtures"]
        assert [each["missing_keys"] for each in mixtures] == [[], ["TOGETHER_API_KEY"]]
        body = {"question": "q", "mixture": keyless.name}
        refused(client.post("/api/ask", json=body), 409, "needs a key: set TOGETHER_API_KEY")


@pytest.fixture
def half_written(server):
    """Let models write nine words, and no more until a test says so."""
    event = Event()
    writes = {"reply": LONG, "until_token": lambda position: position < 9 or event.is_set()}
    yield lambda *names: [server.model(name, **writes) for name in names], event.set
    event.set()


def let_an_hour_pass(monkeypatch):
    """Set the clock forward for all modules that read it."""
    for name, module in sys.modules.items():
        if name.startswith("moa_graph.") and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", lambda: time() + HOUR)


def stop_when_written(client, node, *answered):
    """Ask, and stop the run once an agent has written something, and others have answered."""
    thread = ask(client)
    wait_for(lambda: cells(show(client, thread))[node]["text"])
    for other in answered:
        wait_for(lambda other=other: cells(show(client, thread))[other]["status"] == "answered")
    client.post("/api/stop", json={"thread": thread})
    return finished(client, thread)


@pytest.mark.parametrize("node", ["aggregator", "layer_1_a"])
def test_what_was_written_when_the_run_was_stopped_stays_until_it_goes_on(
    node, client, half_written
):
    hold, release = half_written
    hold("w" if node == "aggregator" else "a")
    shown = stop_when_written(client, node)
    cell = cells(shown)[node]
    assert (cell["status"], cell["stopped"]) == ("waiting", True)
    assert cell["text"].startswith("word0 ")
    assert "word59" not in cell["text"]
    assert cell["html"] == [f'<p dir="auto">{cell["text"].strip()}</p>']
    release()
    client.post("/api/resume", json={"thread": shown["id"]})
    watch(client, shown["id"])
    whole = cells(finished(client, shown["id"]))[node]
    assert (whole["status"], whole["stopped"], whole["text"]) == ("answered", False, LONG)


def test_what_was_there_before_a_stop_is_reused_and_the_pause_is_not_counted(
    client, half_written, monkeypatch
):
    hold, release = half_written
    hold("c")
    shown = stop_when_written(client, "layer_1_c", "layer_1_a", "layer_1_b")
    let_an_hour_pass(monkeypatch)
    release()
    client.post("/api/resume", json={"thread": shown["id"]})
    last = watch(client, shown["id"])[-1]
    resumed = finished(client, shown["id"])
    reused = {node for node, cell in cells(resumed).items() if cell["reused"]}
    assert reused == {"layer_1_a", "layer_1_b"}
    assert max(cell["began"] for cell in resumed["cells"]) < HOUR / 2
    assert resumed["seconds"] < HOUR / 2
    assert last["seconds"] < HOUR / 2


def test_who_failed_and_is_asked_again_says_so_while_it_runs(client, server, half_written):
    server.model("a", faults=[500])
    server.model("b", faults=[500])
    shown = finished(client, ask(client))
    assert cells(shown)["layer_1_a"]["status"] == "failed"
    hold, _ = half_written
    hold("a", "b", "c")
    client.post("/api/resume", json={"thread": shown["id"]})
    wait_for(lambda: cells(show(client, shown["id"]))["layer_1_a"]["status"] == "running")
    running = cells(show(client, shown["id"]))
    assert (running["layer_1_a"]["retrying"], running["layer_1_c"]["retrying"]) == (True, False)
    client.post("/api/stop", json={"thread": shown["id"]})


@pytest.mark.parametrize("node", ["aggregator", "layer_1_a"])
def test_what_was_written_before_a_failure_stays(node, client, server):
    server.model("w" if node == "aggregator" else "a", reply=LONG, faults=["truncate"])
    shown = finished(client, ask(client))
    cell = cells(shown)[node]
    assert cell["status"] == "failed"
    assert cell["text"].startswith("word0 ")
