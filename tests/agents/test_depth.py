"""Layers in an agent that end where it is decided: who reads what then, and what is told."""

import pytest
from decisions import USAGE, FakeDecisions
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from scripted_mixtures import AgentMixture, calling

from moa_graph import MoAConfig, MoAMiddleware, QuorumError, agreement

THREAD = {"configurable": {"thread_id": "1"}}
QUESTION = {"messages": "q"}
APART = {"p11": ["41"], "p12": ["42"], "p21": ["42"], "p22": ["It is 42."]}
PRICES = dict.fromkeys(["p11", "p12", "p21", "p22"], (1.0, 1.0))
"""A dollar for a million tokens: a call has 1,000."""


@tool
def look() -> str:
    """Look."""
    return "seen"


def priced():
    usage = {"input_tokens": 800, "output_tokens": 200, "total_tokens": 1000}
    return {name: [AIMessage("42", usage_metadata=usage)] for name in PRICES}


def asked(panel):
    """How often each layer was asked, its two proposers together."""
    counts = [len(each.asked) for each in panel.proposers.values()]
    return [sum(counts[start : start + 2]) for start in range(0, len(counts), 2)]


def told(state, at=-1):
    return state["messages"][at].response_metadata["moa"]


@pytest.mark.parametrize(
    "early_stop", [agreement(0.9), 0.9, lambda _: True, FakeDecisions(answers=[0.9])]
)
def test_layers_that_are_decided_are_the_last_to_be_asked_and_read(early_stop, invoke):
    panel = AgentMixture("the answer", layers=3, early_stop=early_stop)
    state = invoke(panel.agent(), QUESTION)
    assert (asked(panel), state["messages"][-1].text) == ([2, 0, 0], "the answer")
    assert panel.writer.asked[0][-1].text.count("a proposal") == 2
    depth = told(state)["depth"]
    assert (depth["layers"], depth["of"], depth["skipped"]) == (1, 3, 4)


def test_layers_that_were_not_asked_do_not_count_as_asked(invoke):
    summary = told(invoke(AgentMixture("x", layers=2, early_stop=0.9).agent(), QUESTION))
    assert (summary["layers"], summary["asked"], summary["answered"]) == (1, 2, 2)
    assert summary["proposers"] == ["layer_1_p11", "layer_1_p12"]
    assert summary["degraded"] is False


def test_layers_that_differ_go_on_and_agree_later(invoke):
    panel = AgentMixture("the answer", layers=3, early_stop=0.9, answers_of=APART)
    state = invoke(panel.agent(), QUESTION)
    assert asked(panel) == [2, 2, 0]
    assert "It is 42." in panel.writer.asked[0][-1].text
    why = "agreement 1.00, at least 0.9"
    assert told(state)["depth"] == {"layers": 2, "of": 3, "why": why, "skipped": 2}


def test_without_it_nothing_is_told(invoke):
    assert "depth" not in told(invoke(AgentMixture("x", layers=2).agent(), QUESTION))


def test_requests_are_the_same_with_and_without_it(invoke):
    """Of a turn whose layers never stop early: to the letter."""
    prompts = []
    for options in ({}, {"early_stop": lambda _: False}, {"early_stop": 0.9, "shadow": True}):
        panel = AgentMixture("the answer", layers=2, references_in="system", **options)
        invoke(panel.agent(), QUESTION)
        models = [*panel.proposers.values(), panel.writer]
        prompts.append([[m.model_dump(exclude={"id"}) for m in e.asked[0]] for e in models])
    assert prompts[0] == prompts[1] == prompts[2]


def test_shadow_asks_all_layers_and_tells_what_would_have_been_saved(invoke):
    panel = AgentMixture("x", layers=2, early_stop=0.9, shadow=True, answers_of=priced())
    depth = told(invoke(panel.agent(), QUESTION))["depth"]
    assert (asked(panel), depth["layers"]) == ([2, 2], 2)
    shadow = depth["shadow"]
    assert (shadow["layers"], shadow["skipped"], shadow["usage"]["total_tokens"]) == (1, 2, 2000)


# Turns.


def test_a_tool_loop_keeps_the_decision(invoke):
    judge = FakeDecisions(answers=[0.9, 0.1])
    panel = AgentMixture(calling(), calling(), "the answer", layers=2, early_stop=judge)
    state = invoke(panel.agent(look), QUESTION)
    assert (asked(panel), len(judge.asked), panel.written) == ([2, 0], 1, 3)
    for messages in panel.writer.asked:
        assert messages[1].text.count("a proposal") == 2
    first, last = told(state, 1), told(state)
    assert first["depth"] == last["depth"]
    assert [each["model"] for each in first["decisions"]] == ["fake:judge"]
    assert (first["usage"], last["usage"]["total_tokens"]) == (USAGE, 0)
    assert (last["layers"], last["asked"], "decisions" in last) == (1, 2, False)


def test_a_decision_of_unknown_cost_is_told(invoke):
    judge = FakeDecisions(answers=[0.9], usage=None)
    panel = AgentMixture("x", layers=2, early_stop=judge, answers_of=priced())
    summary = told(invoke(panel.agent(), QUESTION))
    assert summary["usage_unknown"] == ["layer_1_aggregator", "aggregator"]


@pytest.mark.parametrize("layers", [[1, 2], [2, 1]])
def test_a_second_turn_is_decided_anew(layers, invoke):
    answers_of = APART | {"p11": ["42" if each == 1 else "41" for each in layers]}
    panel = AgentMixture("one", "two", layers=2, early_stop=0.9, answers_of=answers_of)
    agent = panel.agent(checkpointer=InMemorySaver())
    turns = [told(invoke(agent, QUESTION, THREAD))["depth"]["layers"] for _ in layers]
    assert turns == layers
    assert "It is 42." in panel.writer.asked[layers.index(2)][-1].text
    assert "It is 42." not in panel.writer.asked[layers.index(1)][-1].text


def test_a_turn_that_goes_on_after_a_failed_layer_keeps_its_decision(invoke):
    decided = []
    answers_of = {"p21": [ValueError("down"), "up"]}
    panel = AgentMixture(
        "the answer",
        layers=3,
        quorum=2,
        answers_of=answers_of,
        early_stop=lambda proposals: decided.append(proposals[0]["layer"]) or len(decided) == 2,
    )
    agent = panel.agent(checkpointer=InMemorySaver())
    with pytest.raises(QuorumError, match="layer 2"):
        invoke(agent, QUESTION, THREAD)
    state = invoke(agent, None, THREAD)
    assert (decided, asked(panel)) == ([1, 2], [2, 3, 0])
    assert told(state)["depth"]["layers"] == 2


def test_a_layer_without_its_quorum_decides_nothing_and_ends_the_layers(invoke):
    decided = []
    panel = AgentMixture(
        "the answer",
        layers=3,
        on_failure="continue",
        answers_of={"p11": ["first"], "p21": [ValueError("down")], "p22": [ValueError("down")]},
        early_stop=lambda proposals: bool(decided.append(proposals)),
    )
    state = invoke(panel.agent(), QUESTION)
    assert (len(decided), asked(panel)) == (1, [2, 2, 0])
    assert "first" in panel.writer.asked[0][-1].text
    why = "layer 2 lost its quorum"
    assert told(state)["depth"] == {"layers": 2, "of": 3, "why": why, "skipped": 2}


def test_the_decision_stands_in_the_private_state(invoke):
    panel = AgentMixture("the answer", layers=2, early_stop=0.9)
    agent = panel.agent(checkpointer=InMemorySaver(), interrupt_before=["model"])
    invoke(agent, QUESTION, THREAD)
    kept = agent.get_state(THREAD).values["moa_panels"]["moa"]
    assert kept["depth"]["layer_1_aggregator"]["stop"] is True


# A budget.


@pytest.mark.parametrize(("max_cost", "layers"), [(0, [2, 0]), (0.0047, [2, 0]), (0.0048, [2, 2])])
def test_a_layer_is_asked_while_what_is_left_pays_for_it(max_cost, layers, invoke):
    """The agent's model needs no price: the budget is that of the layers."""
    options = {"max_cost": max_cost, "prices": PRICES, "answers_of": priced()}
    panel = AgentMixture("the answer", layers=2, **options)
    state = invoke(panel.agent(), QUESTION)
    assert (asked(panel), told(state)["depth"]["layers"]) == (layers, sum(layers) // 2)


def test_a_budget_holds_each_time_that_the_layers_are_asked(invoke):
    options = {"max_cost": 0.0047, "prices": PRICES, "answers_of": priced()}
    panel = AgentMixture(calling(), "the answer", layers=2, consult="every_call", **options)
    state = invoke(panel.agent(look), QUESTION)
    assert asked(panel) == [4, 0]
    why = "max_cost $0.0047: $0.0020 spent, and the next layer may cost $0.0028"
    assert [told(state, at)["depth"]["why"] for at in (1, -1)] == [why, why]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_cost": 1}, "`max_cost`=1: the price of 'p11' is not known"),
        ({"max_cost": 1, "prices": PRICES, "early_stop": FakeDecisions()}, "'fake:judge'"),
        ({"max_cost": -1}, "`max_cost`=-1: expected US dollars"),
        ({"early_stop": "agreement"}, "`early_stop`='agreement': expected"),
        ({"shadow": 1}, "`shadow`=1: expected True or False"),
    ],
)
def test_what_makes_no_sense_is_refused(options, named):
    with pytest.raises(ValueError, match=named):
        AgentMixture("x", layers=2, **options)


def test_there_is_no_router():
    with pytest.raises(TypeError, match="unexpected keyword argument 'router'"):
        MoAMiddleware([["offline:lead"]], router=None)


# Seen from outside.


def test_edges_past_layers_are_drawn_dashed():
    drawings = [
        AgentMixture("x", layers=2, **options).agent().get_graph(xray=True).draw_mermaid()
        for options in ({"early_stop": 0.9}, {})
    ]
    edge = r"layer_1_aggregator -.-> moa\2ebefore_model\3a__end__"
    assert [edge in drawing for drawing in drawings] == [True, False]


def test_the_decision_is_streamed(stream):
    agent = AgentMixture("the answer", layers=2, early_stop=0.9).agent()
    parts = stream(agent, QUESTION, stream_mode="updates", subgraphs=True)
    [update] = [part["layer_1_aggregator"] for _, part in parts if "layer_1_aggregator" in part]
    assert update["depth"]["layer_1_aggregator"]["stop"] is True


# From a file.

FILE = """
layers = [["offline:lead", "offline:lead"], ["offline:lead", "offline:lead"]]
aggregator = "offline:consensus"
"""


def load(tmp_path, text):
    path = tmp_path / "mixture.toml"
    path.write_text(text + FILE)
    return MoAConfig.load(path)


def test_a_file_sets_how_deep_the_layers_go(tmp_path, invoke):
    panel = AgentMixture("the answer")
    panel.middleware = load(tmp_path, "early_stop = 0.9\nmax_cost = 1\n").middleware()
    state = invoke(panel.agent(), {"messages": "Where is it? It is here."})
    depth = told(state)["depth"]
    assert (depth["layers"], depth["why"]) == (1, "agreement 1.00, at least 0.9")


def test_a_file_sets_whether_tokens_of_proposers_are_streamed(tmp_path, stream):
    panel = AgentMixture("the answer")
    panel.middleware = load(tmp_path, "stream_proposals = true\n").middleware()
    question = {"messages": "Where is it? It is here."}
    parts = stream(panel.agent(), question, stream_mode="messages", subgraphs=True)
    assert any(metadata["langgraph_node"] == "layer_1_lead" for _, (_, metadata) in parts)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ('router = { model = "openai:a", easy = "openai:b" }', "router"),
        ('aggregation = "select"', "aggregation"),
        ('aggregation = "vote"\nvoters = ["offline:lead"]', "aggregation"),
        ("analysis = true", "analysis"),
        ("cache_policy = { ttl = 60 }", "cache_policy"),
    ],
)
def test_an_option_of_a_file_that_cannot_be_passed_on_is_refused_by_name(option, name, tmp_path):
    config = load(tmp_path, f"{option}\n")
    with pytest.raises(ValueError, match=f"`{name}`: MoAMiddleware has no such option"):
        config.middleware()
    default = MoAConfig.model_fields[name].get_default()
    without = config.model_copy(update={name: default, "voters": None})
    assert without.middleware(lazy=True).name == "moa"
