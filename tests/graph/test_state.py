"""The state: how proposals are taken in, and kept."""

import warnings

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.errors import InvalidUpdateError
from langgraph.graph import START, StateGraph
from langgraph.types import Overwrite

from moa_graph import MoAState, create_moa
from moa_graph.graph.state import (
    RETRY,
    awaits_retry,
    merge_proposals,
    merge_writes,
    retry_mark_update,
)


def proposal(turn, content="x"):
    return {"turn_id": turn, "content": content, "error": None}


def test_proposals_of_a_turn_add_up():
    one = merge_proposals({}, {"a": proposal("1")})
    assert set(merge_proposals(one, {"b": proposal("1")})) == {"a", "b"}


def test_proposals_of_an_earlier_turn_give_way():
    assert set(merge_proposals({"a": proposal("1")}, {"b": proposal("2")})) == {"b"}


def test_nothing_is_changed_in_place():
    old = {"a": proposal("1")}
    merge_proposals(old, {"a": {"content": "y"}})
    assert old == {"a": proposal("1")}


def test_a_human_edits_and_drops_proposals(invoke, model):
    writer = model()
    layer = {
        "a": model(answers=["one"]),
        "b": model(answers=["two"]),
        "c": model(answers=["three"]),
    }
    graph = create_moa([layer], writer).compile(
        checkpointer=InMemorySaver(), interrupt_before=["layer_1_aggregator"]
    )
    config = {"configurable": {"thread_id": "1"}}
    invoke(graph, {"messages": "q"}, config)
    edits = {"layer_1_a": {"content": "edited"}, "layer_1_b": None}
    graph.update_state(config, {"proposals": edits}, as_node="layer_1_a")
    result = invoke(graph, None, config)
    assert writer.asked[0][0].content.endswith("models:\n1. edited\n2. three")
    assert set(result["proposals"]) == {"layer_1_a", "layer_1_c"}
    assert result["proposals"]["layer_1_a"]["agent"] == "a"


def test_checkpoints_are_read_back_strictly_and_without_a_warning(model, tmp_path):
    config = {"configurable": {"thread_id": "1"}}
    with SqliteSaver.from_conn_string(str(tmp_path / "x.sqlite")) as saver:
        graph = create_moa([{"a": model()}] * 2, model()).compile(checkpointer=saver)
        graph.invoke({"messages": "q"}, config)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values = graph.get_state(config).values
            history = list(graph.get_state_history(config))
    assert values["proposals"]["layer_2_a"]["content"] == "an answer"
    assert [state.next for state in reversed(history)] == [
        ("__start__",),
        ("layer_1_a",),
        ("layer_1_aggregator",),
        ("layer_2_a",),
        ("layer_2_aggregator",),
        ("aggregator",),
        (),
    ]


@pytest.mark.parametrize("saver", [None, InMemorySaver])
def test_a_checkpointer_is_optional(saver, invoke, model):
    graph = create_moa([[model()]], model()).compile(checkpointer=saver and saver())
    assert invoke(graph, {"messages": "q"}, {"configurable": {"thread_id": "1"}})["messages"]


def test_mark_keeps_the_cause_and_is_put_once():
    marked = retry_mark_update({"error": "no key"})
    assert marked == {"error": "ask again after no key"}
    assert retry_mark_update(marked) == marked
    assert retry_mark_update({"error": RETRY}) == {"error": RETRY}


def test_proposals_that_are_marked_are_told_from_others():
    assert [awaits_retry({"error": each}) for each in (RETRY, "ask again after x")] == [True, True]
    assert [awaits_retry({"error": each}) for each in (None, "no key")] == [False, False]


def test_proposal_that_is_not_there_can_be_dropped():
    assert merge_proposals({"a": proposal("1")}, {"b": None}) == {"a": proposal("1")}


def test_writes_of_several_nodes_add_up_to_what_was_there():
    writes = [{"b": proposal("1")}, {"c": proposal("1")}]
    assert set(merge_writes({"a": proposal("1")}, writes)) == {"a", "b", "c"}
    assert merge_writes({"a": proposal("1")}, []) == {"a": proposal("1")}


def write_side_by_side(invoke, *writes):
    """Have nodes of one superstep write proposals."""
    host = StateGraph(MoAState)
    for number, write in enumerate(writes):
        host.add_node(f"{number}", lambda _, write=write: {"proposals": write})
        host.add_edge(START, f"{number}")
    return invoke(host.compile(), {"messages": "q"})["proposals"]


def test_two_attempts_at_one_proposal_in_a_superstep_are_refused(invoke):
    attempts = [{"a": proposal("1") | {"attempt_id": each}} for each in "xy"]
    with pytest.raises(InvalidUpdateError) as error:
        write_side_by_side(invoke, *attempts)
    assert str(error.value).splitlines()[0] == (
        "`proposals`: two mixtures that run side by side in a host with `MoAState` both wrote "
        "'a'; give their agents different names, or give the host a schema without `proposals`, "
        "such as `MessagesState`"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"a": None},
        {"a": proposal("1", "edited")},
        {"a": {"content": "edited", "attempt_id": "y"}},
        {"a": proposal("2", "edited") | {"attempt_id": "y"}},
        {"a": proposal("1", "edited") | {"attempt_id": "x"}},
    ],
)
def test_what_a_human_or_another_turn_writes_is_no_second_attempt(other, invoke):
    attempt = {"a": proposal("1") | {"attempt_id": "x"}}
    written = write_side_by_side(invoke, attempt, other)
    assert {node: p["content"] for node, p in written.items()} == {
        node: "edited" for node, p in other.items() if p
    }


def test_all_proposals_can_be_replaced_beside_another_write(invoke):
    attempt = {"a": proposal("1") | {"attempt_id": "x"}}
    other = {"b": proposal("1", "other")}
    assert write_side_by_side(invoke, attempt, Overwrite(other)) == other


@pytest.mark.parametrize(
    ("node", "edit", "message"),
    [
        ("layer_1_a", {"contents": "x"}, "unknown field 'contents'; expected one of: layer, "),
        ("layer_1_a", "better", "expected the fields that change, .* got 'better'"),
        ("a", None, "there is no such proposal; expected one of: layer_1_a$"),
        ("a", {"content": "better"}, "there is no such proposal"),
        ("layer_2_a", {"error": RETRY}, "there is no such proposal"),
    ],
)
def test_edit_without_effect_is_refused(node, edit, message):
    moa = create_moa([{"a": "offline:lead"}], "offline:consensus")
    graph = moa.compile(checkpointer=InMemorySaver(), interrupt_before=["layer_1_aggregator"])
    thread = {"configurable": {"thread_id": "1"}}
    graph.invoke({"messages": "Where is it? It is under the tree."}, thread)
    with pytest.raises(InvalidUpdateError, match=f"`proposals`: '{node}': {message}"):
        graph.update_state(thread, {"proposals": {node: edit}}, as_node="layer_1_a")
