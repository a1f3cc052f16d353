"""A run as a page."""

import re
from dataclasses import replace

import pytest
from browser import chromium, open_page
from fakes import FakeModel
from langchain_core.exceptions import ContextOverflowError
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from typer.testing import CliRunner

from moa_graph import (
    Agent,
    MoAState,
    create_moa,
    report,
)
from moa_graph.cli.app import app
from moa_graph.run_report.prompts import read_prompts
from moa_graph.run_report.timeline import build_timeline
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord, read_run

CONFIG = {"configurable": {"thread_id": "1"}}
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> {{ 7 * 7 }}"


@pytest.fixture
def mixture(server):
    """A mixture of two layers that asks the local server, one agent failing."""

    def make(**options):
        server.model("a", reply="The sky is blue because of Rayleigh scattering.")
        server.model("b", reply=EVIL)
        server.model("broken", always=400)
        server.model("w", reply="The sky is blue because of Rayleigh scattering, always.")
        agents = {n: Agent(model=f"openai:{n}", base_url=server.url) for n in ("a", "b", "broken")}
        agents["b"] = Agent(model="openai:b", base_url=server.url, system="You are b.")
        writer = Agent(model="openai:w", base_url=server.url)
        graph = create_moa([agents] * 2, writer, **options)
        return graph.compile(checkpointer=InMemorySaver())

    return make


def roles_and_texts(messages):
    names = {"human": "user", "ai": "assistant"}
    return [(names.get(m.type, m.type), m.text) for m in messages]


@pytest.mark.parametrize("references_in", ["system", "user"])
def test_prompts_are_those_that_were_sent(mixture, server, references_in):
    graph = mixture(references_in=references_in)
    graph.invoke({"messages": "first"}, CONFIG)
    state = graph.invoke({"messages": "Why is the sky blue?"}, CONFIG)
    history = list(graph.get_state_history(CONFIG))
    layers = read_prompts(read_run(state), state, graph.builder.spec, history)
    assert [[len(r.calls) for r in layer] for layer in layers] == [[2, 1], [2, 1], [1]]
    assert not any(reading.rebuilt for layer in layers for reading in layer)
    read = [(c.agent, c.layer, r) for layer in layers for r in layer for c in r.calls]
    for agent, layer, reading in read:
        call = server.calls_of("w" if agent == "aggregator" else agent)[-1 if layer > 1 else -2]
        sent = [(message["role"], message["content"]) for message in call.messages]
        assert roles_and_texts(reading.messages) == sent


@pytest.mark.parametrize("context", [None, 2500])
def test_prompt_after_a_refusal_is_the_one_that_was_answered(context):
    told = "request (4000 tokens) exceeds the available context size (2000 tokens)"
    reader = FakeModel(answers=[ContextOverflowError(told), "fine"])
    layer = [FakeModel(answers=["sky " * 2000]) for _ in range(2)]
    agent = Agent(model=reader, max_input_tokens=context)
    graph = create_moa([layer], agent).compile(checkpointer=InMemorySaver())
    state = graph.invoke({"messages": "Why?"}, CONFIG)
    history = list(graph.get_state_history(CONFIG))
    [*_, [prompt]] = read_prompts(read_run(state), state, graph.builder.spec, history)
    assert len(reader.asked) == 2
    assert roles_and_texts(prompt.messages) == roles_and_texts(reader.asked[1])


def test_prompts_are_rebuilt_without_history(mixture, server):
    graph = mixture()
    state = graph.invoke({"messages": "q"}, CONFIG)
    *_, (reading,) = read_prompts(read_run(state, order=graph.nodes), state, graph.builder.spec, [])
    assert reading.rebuilt
    sent = [(message["role"], message["content"]) for message in server.calls_of("w")[0].messages]
    assert roles_and_texts(reading.messages) == sent


def test_prompts_of_an_abandoned_branch_are_not_shown():
    model = FakeModel(answers=["first", "second"])
    graph = create_moa([[model]], FakeModel()).compile(checkpointer=InMemorySaver())
    graph.invoke({"messages": "q"}, CONFIG)
    (before,) = (s for s in graph.get_state_history(CONFIG) if s.next == ("layer_1_fake",))
    state = graph.invoke(None, before.config)
    history = list(graph.get_state_history(CONFIG))
    *_, (reading,) = read_prompts(read_run(state), state, graph.builder.spec, history)
    assert "1. second" in reading.messages[0].text


def test_prompts_are_those_of_the_branch_that_was_continued():
    model = FakeModel(answers=["first", "x", "second", "x", "x"])
    graph = create_moa([[model]] * 2, FakeModel()).compile(checkpointer=InMemorySaver())
    graph.invoke({"messages": "q"}, CONFIG)
    history = list(graph.get_state_history(CONFIG))
    start, middle = (
        next(s for s in history if s.next == (node,)) for node in ("layer_1_fake", "layer_2_fake")
    )
    graph.invoke(None, start.config)  # layer 1 says something else: this branch is abandoned
    state = graph.invoke(None, middle.config)
    history = list(graph.get_state_history(CONFIG))
    _, (reading,), _ = read_prompts(read_run(state), state, graph.builder.spec, history)
    assert "1. first" in reading.messages[0].text


def test_report_needs_no_keys_where_nothing_was_cut(monkeypatch):
    graph = create_moa([[FakeModel(answers=["x"])]], "offline:consensus").compile()
    state = graph.invoke({"messages": "q"})
    lazy = create_moa([{"fake": "openai:gpt-4o"}], "openai:gpt-4o", lazy=True)
    assert "Aggregator" in report(state, lazy)


@pytest.mark.browser
def test_page_runs_no_script_and_loads_nothing(mixture, tmp_path):
    graph = mixture()
    state = graph.invoke({"messages": f"Why is the sky blue? {EVIL}"}, CONFIG)
    path = tmp_path / "run.html"
    path.write_text(report(state, graph, history=graph.get_state_history(CONFIG)), "utf-8")
    with chromium() as browser:
        page = open_page(browser)
        asked, told = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: told.append(message.text))
        page.goto(path.as_uri())
        assert asked == [path.as_uri()]
        assert told == []
        assert page.evaluate("window.hacked") is None
        assert page.get_by_text("<script>window.hacked = 1</script>").first.is_visible()
        with page.expect_console_message() as refused:
            page.evaluate(  # as if our escaping had a hole
                "document.body.append(Object.assign(document.createElement('script'), "
                "{textContent: 'window.hacked = 1'}))"
            )
        assert page.evaluate("window.hacked") is None
        assert "Content Security Policy" in refused.value.text


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable_on_a_telephone_by_day_and_by_night(mixture, tmp_path, scheme):
    path = tmp_path / "run.html"
    path.write_text(report(mixture().invoke({"messages": "q"}, CONFIG)), "utf-8")
    with chromium() as browser:
        page = open_page(browser, color_scheme=scheme, viewport={"width": 390, "height": 800})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        ink, paper = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body)"
            ".backgroundColor].map(c => c.match(/\\d+/g).reduce((a, b) => a + Number(b), 0))"
        )
        assert (ink < 150 and paper > 700) if scheme == "light" else (ink > 600 and paper < 100)


@pytest.mark.browser
def test_page_shows_what_happened(mixture, tmp_path):
    graph = mixture()
    state = graph.invoke({"messages": "Why is the sky blue?"}, CONFIG)
    path = tmp_path / "run.html"
    path.write_text(report(state, graph, prices={"openai:a": (1, 1)}), "utf-8")
    with chromium() as browser:
        page = open_page(browser)
        page.goto(path.as_uri())
        assert page.title() == "Why is the sky blue?"
        assert page.locator("svg.pic").is_visible()
        assert page.locator(".bar").count() == 7
        assert page.locator(".bar.bad").count() == 2
        assert page.locator("mark").first.inner_text().startswith("The sky is blue because of")
        assert "89 % of the answer" in page.locator(".prop summary").first.inner_text()
        assert "You have been provided" not in page.inner_text("body")
        page.get_by_text("Aggregator 2 messages").click()
        assert "You have been provided" in page.inner_text("body")


def test_state_alone_makes_a_report(invoke):
    layer = {"b": FakeModel(answers=["from b"]), "a": FakeModel(answers=[OSError("down")])}
    state = invoke(create_moa([layer], FakeModel()).compile(), {"messages": "q"})
    page = report(state)
    assert "rebuilt from the proposals" in page
    assert "OSError: down" in page
    assert page.index("<b>b</b>") < page.index("<b>a</b>")


def test_report_of_a_mixture_in_a_host_knows_its_layout():
    moa = create_moa([[FakeModel()]], FakeModel(), references_in="user").compile()
    host = StateGraph(MoAState)
    host.add_node("moa", moa)
    host.add_edge(START, "moa")
    host = host.compile(checkpointer=InMemorySaver())
    state = host.invoke({"messages": "q"}, CONFIG)
    assert "&lt;response-" in report(state, host)
    assert "This state has no proposals" not in report(state, host)
    bare = StateGraph(MessagesState)
    bare.add_node("moa", moa)
    bare.add_edge(START, "moa")
    bare = bare.compile()
    state = bare.invoke({"messages": "q"})
    for graph in (None, bare, moa):
        assert "This state has no proposals" in report(state, graph)


def test_report_says_what_it_is_of():
    graph = create_moa([[FakeModel()]], FakeModel())
    graph = graph.compile(checkpointer=InMemorySaver(), name="mine")
    state = graph.invoke({"messages": "q"}, CONFIG)
    page = report(state, graph, history=graph.get_state_history(CONFIG))
    assert re.search(
        r"20\d\d-\d\d-\d\d \d\d:\d\d UTC · mixture mine · thread 1 · moa_graph \d", page
    )


def test_texts_cannot_hide_behind_control_characters():
    model = FakeModel(answers=["\u202eevil\u202c \x1b[31mred"])
    state = create_moa([[model]], model).compile().invoke({"messages": "q"})
    page = report(state)
    assert not re.search("[\u202a-\u202e\x1b]", page)
    assert "evil [31mred" in page


def test_unfinished_run_has_a_report_too():
    graph = create_moa([[FakeModel()]], FakeModel())
    graph = graph.compile(checkpointer=InMemorySaver(), interrupt_before=["aggregator"])
    page = report(graph.invoke({"messages": "q"}, CONFIG), graph)
    assert "There is no answer yet" in page
    assert "1 of 1 proposals are stored" in page
    assert 'id="tint-all"' not in page


def test_an_answer_that_was_cut_off_says_so_beside_its_text(server):
    server.model("w", reply="It begins", finish_reason="length")
    layer = [FakeModel(answers=["from a"])]
    writer = Agent(model="openai:w", base_url=server.url)
    page = report(create_moa([layer], writer).compile().invoke({"messages": "q"}))
    answer = page[page.index('id="final"') : page.index('id="proposals"')]
    assert "It is incomplete: cut off at its length limit" in answer


def test_other_states_are_refused():
    with pytest.raises(ValueError, match="`state`: expected the state of a mixture"):
        report({})


def call(node, started, seconds):
    empty = {
        "layer": 1,
        "agent": node,
        "model": "m",
        "text": "x",
        "error": None,
        "dropped_reference_chars": 0,
    }
    return AgentCall(node=node, started=started, seconds=seconds, usage=None, cost=None, **empty)


def test_calls_are_bars_on_one_axis():
    timeline = build_timeline(RunRecord("q", None, [call("a", 100.0, 4.0), call("b", 102.0, 8.0)]))
    assert [(bar.left, bar.width) for bar in timeline.bars] == [(0, 40), (20, 80)]
    assert [tick.text for tick in timeline.ticks] == ["0 s", "5 s", "10 s"]
    assert timeline.pauses == []


def test_long_pause_is_taken_out():
    timeline = build_timeline(RunRecord("q", None, [call("a", 100.0, 5.0), call("b", 7300.0, 5.0)]))
    assert timeline.bars[1].left == pytest.approx(100 * 5.5 / 10.5)
    assert [pause.text for pause in timeline.pauses] == ["119 min 55 s"]


def test_times_that_nobody_noted_make_no_timeline():
    old = replace(call("a", 1.0, 1.0), started=None)
    assert build_timeline(RunRecord("q", None, [old])) is None


def test_call_of_which_no_time_is_stored_is_left_out_of_the_timeline():
    failed = replace(call("aggregator", 1.0, 0.0), started=None, error="e")
    timeline = build_timeline(RunRecord("q", None, [call("a", 100.0, 4.0), failed]))
    assert [bar.call.node for bar in timeline.bars] == ["a"]


def test_calls_that_take_no_time_make_a_timeline():
    assert len(build_timeline(RunRecord("q", None, [call("a", 1.0, 0.0)])).bars) == 1


def test_command_writes_the_page(tmp_path):
    def moa(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    moa("ask", "Where is it? It is under the tree.", "-p", "offline", "-t", "mine")
    path = tmp_path / "run.html"
    assert moa("report", "mine", "-o", path).exit_code == 0
    written = path.read_text("utf-8")
    assert written.startswith("<!doctype html>")
    assert "rebuilt" not in written
    assert "mixture offline" in written
    assert moa("report", "mine").output == written
    assert "no thread 'nope'" in str(moa("report", "nope").exception)
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)", written)


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({"aggregation": "vote"}, "Votes"),
        ({"aggregation": "sequential", "references_per_window": 1}, "Windows"),
        ({"analysis": FakeModel(answers=['{"consensus": ["Ada."]}'])}, "Analysis"),
    ],
)
def test_calls_between_the_layers_and_the_aggregator_are_no_layer(options, title):
    layer = ["offline:lead", "offline:bm25", "offline:consensus"]
    mixture = create_moa([layer], "offline:lead", **options)
    page = report(mixture.compile().invoke({"messages": "Who? Ada. Bob."}), mixture)
    assert f">{title}</" in page
    assert "Layer 2" not in page
