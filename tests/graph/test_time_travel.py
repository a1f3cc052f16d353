"""From any checkpoint of a thread: fork, edit, drop, swap; what was not touched is not asked."""

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from moa_graph import RETRY, create_moa

CONFIG = {"configurable": {"thread_id": "1"}}


@pytest.fixture
def models(model):
    """Two layers of two, and an aggregator, each of which numbers its answers."""

    def numbered(name):
        return model(name=name, answers=[f"{name}{number}" for number in range(1, 9)])

    return {name: numbered(name) for name in ("a1", "b1", "a2", "b2", "w")}


def build(models, **others):
    now = models | others
    layers = [{"a": now["a1"], "b": now["b1"]}, {"a": now["a2"], "b": now["b2"]}]
    return create_moa(layers, now["w"])


def counts(models):
    return {name: len(model.asked) for name, model in models.items()}


def before(graph, node):
    """The newest checkpoint from which a node is next."""
    return next(state for state in graph.get_state_history(CONFIG) if node in state.next)


@pytest.mark.parametrize(
    ("node", "again"),
    [
        ("layer_1_a", {"a1", "b1", "a2", "b2", "w"}),
        ("layer_1_aggregator", {"a2", "b2", "w"}),
        ("layer_2_a", {"a2", "b2", "w"}),
        ("layer_2_aggregator", {"w"}),
        ("aggregator", {"w"}),
    ],
)
def test_fork_asks_what_comes_after_it_and_nothing_before(node, again, models, invoke):
    graph = build(models).compile(checkpointer=InMemorySaver())
    invoke(graph, {"messages": "q"}, CONFIG)
    result = invoke(graph, None, before(graph, node).config)
    assert counts(models) == {name: 1 + (name in again) for name in models}
    assert [message.content for message in result["messages"]] == ["q", "w2"]


def test_edited_proposal_is_what_the_next_layer_reads(models, invoke):
    graph = build(models).compile(checkpointer=InMemorySaver())
    invoke(graph, {"messages": "q"}, CONFIG)
    edit = {"proposals": {"layer_1_a": {"content": "edited"}}}
    place = before(graph, "layer_1_aggregator").config
    fork = graph.update_state(place, edit, as_node="layer_1_a")
    result = invoke(graph, None, fork)
    assert counts(models) == {"a1": 1, "b1": 1, "a2": 2, "b2": 2, "w": 2}
    assert models["a2"].asked[1][0].content.endswith("\n1. edited\n2. b11")
    assert result["proposals"]["layer_1_a"]["content"] == "edited"


def test_dropped_proposal_is_left_out(models, invoke):
    graph = build(models).compile(checkpointer=InMemorySaver())
    invoke(graph, {"messages": "q"}, CONFIG)
    place = before(graph, "layer_2_aggregator").config
    drop = {"proposals": {"layer_2_b": None}}
    result = invoke(graph, None, graph.update_state(place, drop, as_node="layer_2_b"))
    assert models["w"].asked[1][0].content.endswith("models:\n1. a21")
    summary = result["messages"][-1].response_metadata["moa"]
    assert (summary["answered"], summary["dropped"]) == (3, ["layer_2_b"])
    assert not summary["degraded"]  # a person's choice is no failure
    assert not summary["failed"]
    assert counts(models) == {"a1": 1, "b1": 1, "a2": 1, "b2": 1, "w": 2}


def test_another_aggregator_writes_from_the_same_proposals(models, model, tmp_path):
    other = model(name="other", answers=["other"])
    with SqliteSaver.from_conn_string(str(tmp_path / "x.sqlite")) as saver:
        graph = build(models).compile(checkpointer=saver)
        graph.invoke({"messages": "q"}, CONFIG)
        swapped = build(models, w=other).compile(checkpointer=saver)
        result = swapped.invoke(None, before(swapped, "aggregator").config)
    assert result["messages"][-1].content == "other"
    assert other.asked == models["w"].asked
    assert counts(models) == dict.fromkeys(models, 1)


def test_one_proposer_is_swapped_and_the_other_pinned(models, model, invoke):
    saver, other = InMemorySaver(), model(name="other", answers=["other"])
    graph = build(models).compile(checkpointer=saver)
    invoke(graph, {"messages": "q"}, CONFIG)
    swapped = build(models, b1=other).compile(checkpointer=saver)
    place = before(swapped, "layer_1_aggregator").config
    again = {"proposals": {"layer_1_b": {"error": RETRY}}}
    fork = swapped.update_state(place, again, as_node="layer_1_b")
    invoke(swapped, None, fork)
    assert models["a2"].asked[1][0].content.endswith("\n1. a11\n2. other")
    assert counts(models) == {"a1": 1, "b1": 1, "a2": 2, "b2": 2, "w": 2}


@pytest.mark.parametrize("stop", ["layer_1_aggregator", "layer_2_aggregator"])
def test_run_stops_before_a_hub_for_review_and_goes_on(stop, models, invoke):
    graph = build(models).compile(checkpointer=InMemorySaver(), interrupt_before=[stop])
    invoke(graph, {"messages": "q"}, CONFIG)
    assert graph.get_state(CONFIG).next == (stop,)
    assert not models["w"].asked
    assert invoke(graph, None, CONFIG)["messages"][-1].content == "w1"
    assert counts(models) == dict.fromkeys(models, 1)


def test_original_is_still_in_the_history(models, invoke):
    graph = build(models).compile(checkpointer=InMemorySaver())
    first = invoke(graph, {"messages": "q"}, CONFIG)
    invoke(graph, None, before(graph, "layer_2_a").config)
    ends = [
        state.values["messages"][-1] for state in graph.get_state_history(CONFIG) if not state.next
    ]
    assert first["messages"][-1] in ends
    assert len(ends) == 2
