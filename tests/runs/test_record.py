"""What is read from a state after a run."""

import threading

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from waiting import after

from moa_graph import QuorumError, create_moa
from moa_graph.models.pricing import estimate_cost
from moa_graph.runs.agent_call import call_status
from moa_graph.runs.formatting import format_run
from moa_graph.runs.record import read_run

USAGE = {"input_tokens": 1_000_000, "output_tokens": 500_000, "total_tokens": 1_500_000}


def answer(text):
    return AIMessage(text, usage_metadata=USAGE)


def test_run_is_read_layer_by_layer(invoke):
    models = {name: FakeModel(answers=[answer(name)], name=name) for name in "zyx"}
    graph = create_moa([models] * 2, FakeModel(answers=[answer("final")], name="w")).compile()
    state = invoke(graph, {"messages": "q"})
    run = read_run(state, prices={"x": (1, 2), "w": (3, 4)})
    assert run.question == "q"
    assert run.answer == state["messages"][-1]
    assert [[call.agent for call in layer] for layer in run.layers] == [
        ["z", "y", "x"],
        ["z", "y", "x"],
        ["aggregator"],
    ]
    assert run.tokens == 7 * 1_500_000
    assert run.cost == 2 * (1 + 1) + 3 + 2
    assert not run.cost_is_complete  # z and y have no known price
    assert run.calls[-1].text == "final"


def test_run_waits_for_the_slowest_of_each_layer(follow):
    ended = []

    def layer(number):
        others = {f"layer_{number}_fast", f"layer_{number}_broken"}
        return {
            "slow": FakeModel(until=after(lambda: others <= {*ended})),
            "fast": FakeModel(),
            "broken": FakeModel(answers=[OSError()]),
        }

    run = read_run(follow(create_moa([layer(1), layer(2)], FakeModel()).compile(), ended.append))
    assert run.critical_path == {"layer_1_slow", "layer_2_slow", "aggregator"}
    assert run.seconds == sum(call.seconds for call in run.calls[::3])
    assert run.calls[3].started >= run.calls[0].ended - 0.01
    assert run.calls[2].status == "failed"


def test_what_was_cut_off_is_no_failure():
    over = threading.Event()
    layer = {"slow": FakeModel(until=over.is_set), "fast": FakeModel()}
    state = create_moa([layer], FakeModel(), grace=0.1).compile().invoke({"messages": "q"})
    over.set()
    assert [call.status for call in read_run(state).proposals] == ["cut off", "answered"]


@pytest.mark.parametrize(
    ("error", "error_type", "status"),
    [
        (None, None, "answered"),
        ("layer_1_a was cut off", "DeadlineExceededError", "cut off"),
        ("cut off by the peer", "ConnectionError", "failed"),
        ("cut off by the layer's deadline of 5 s", None, "cut off"),  # of an earlier version
        ("no answer within its timeout of 5 s", None, "cut off"),
        ("OSError: down", None, "failed"),
    ],
)
def test_status_is_read_from_the_class_of_the_failure(error, error_type, status):
    assert call_status(error, error_type) == status


def test_run_without_an_answer_has_its_proposals():
    graph = create_moa([[FakeModel(answers=[OSError("down")])]], FakeModel())
    graph = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(QuorumError):
        graph.invoke({"messages": "q"}, config)
    run = read_run(graph.get_state(config).values)
    assert run.answer is None
    assert [call.error for call in run.calls] == ["OSError: down"]
    assert run.critical_path == {"layer_1_fake"}


def test_question_not_yet_begun_has_no_old_proposals(invoke):
    state = invoke(create_moa([[FakeModel()]], FakeModel()).compile(), {"messages": "q"})
    state = {**state, "messages": [*state["messages"], HumanMessage("next", id="2")]}
    assert read_run(state).calls == []


def test_other_states_are_refused():
    with pytest.raises(ValueError, match="`state`: expected the state of a mixture"):
        read_run({"proposals": {}})


@pytest.mark.parametrize(
    ("model", "usage", "prices", "cost"),
    [
        ("offline:lead", None, None, 0.0),
        ("openai:gpt-4o", None, None, None),
        ("openai:gpt-4o", USAGE, {"openai:gpt-4o": (1, 1)}, 1.5),
        ("openai:gpt-4o", USAGE, None, 2.5 + 5.0),  # its list price for years
        ("nobody:nothing", USAGE, None, None),
        ("fake", USAGE, None, None),
    ],
)
def test_cost_is_estimated_or_unknown(model, usage, prices, cost):
    assert estimate_cost(model, usage, prices) == cost


def test_failure_in_other_words_is_no_cut_off():
    layer = {"a": FakeModel(answers=[ConnectionError("cut off by the peer")]), "b": FakeModel()}
    state = create_moa([layer], FakeModel()).compile().invoke({"messages": "q"})
    assert [call.status for call in read_run(state).proposals] == ["failed", "answered"]


def test_layer_that_is_not_over_has_no_slowest(invoke):
    graph = create_moa([{"a": FakeModel(), "b": FakeModel()}] * 2, FakeModel())
    state = invoke(graph.compile(), {"messages": "q"})
    del state["proposals"]["layer_2_b"]
    state["messages"].pop()
    run = read_run(state, order=graph.nodes)
    assert run.planned_proposals == 4
    assert {node.partition("_a")[0].partition("_b")[0] for node in run.critical_path} == {"layer_1"}
    assert format_run(run).startswith("3 of 4 proposals · ")


def test_sums_say_what_they_leave_out():
    layer = {"a": FakeModel(answers=[answer("x")], name="x:a"), "b": FakeModel()}
    state = create_moa([layer], FakeModel()).compile().invoke({"messages": "q"})
    said = format_run(read_run(state, prices={"x:a": (1, 0)}))
    assert said.endswith("1,500,000 tokens at least · ~$1.00 at least")
    assert format_run(read_run(state)).endswith("1,500,000 tokens at least · cost unknown")
    free = create_moa([["offline:lead"]], "offline:consensus").compile().invoke({"messages": "q"})
    assert format_run(read_run(free)).endswith(" · $0")


@pytest.mark.parametrize("attached", ['<file name="a.md">\nx\n</file>', "<context>\nx\n</context>"])
def test_question_is_without_its_attachments(attached):
    content = f"Who?\n\n{attached}"
    state = create_moa([[FakeModel()]], FakeModel()).compile().invoke({"messages": content})
    assert read_run(state).question == "Who?"
