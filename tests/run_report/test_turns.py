"""One report for each turn of a thread."""

import pytest
from fakes import FakeModel
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

from moa_graph import create_moa, report
from moa_graph.cli.app import app

CONFIG = {"configurable": {"thread_id": "1"}}


@pytest.fixture
def thread():
    """A thread of three turns: its graph, its newest state and its checkpoints."""
    proposer = FakeModel(answers=["proposal 1", "proposal 2", "proposal 3"])
    writer = FakeModel(answers=["answer 1", "answer 2", "answer 3"])
    graph = create_moa([{"a": proposer}], writer).compile(checkpointer=InMemorySaver())
    for number in (1, 2, 3):
        state = graph.invoke({"messages": f"question {number}"}, CONFIG)
    return graph, state, list(graph.get_state_history(CONFIG))


@pytest.mark.parametrize(("turn", "number"), [(1, 1), (2, 2), (3, 3), (None, 3), (-1, 3), (-3, 1)])
def test_a_turn_is_reported_with_its_own_proposals_and_prompts(thread, turn, number):
    graph, state, history = thread
    page = report(state, graph, history=history, turn=turn)
    assert f"<title>question {number}</title>" in page
    assert f"turn {number} of 3" in page
    assert f"1. proposal {number}" in page
    assert "rebuilt" not in page
    for other in {1, 2, 3} - {number}:
        assert f"proposal {other}" not in page


def test_earlier_turns_stand_below_and_later_ones_do_not(thread):
    graph, state, history = thread
    page = report(state, graph, history=history, turn=2)
    earlier = page[page.index('id="earlier"') : page.index('id="prompts"')]
    assert "answer 1" in earlier
    assert "answer 2" not in earlier
    assert "answer 3" not in page


@pytest.mark.parametrize("turn", [0, 4, -4])
def test_a_turn_that_there_is_not_is_refused(thread, turn):
    graph, state, history = thread
    with pytest.raises(ValueError, match=f"`turn`={turn}: expected the number of a turn, 1 to 3"):
        report(state, graph, history=history, turn=turn)


def test_an_earlier_turn_needs_the_history(thread):
    graph, state, _ = thread
    with pytest.raises(ValueError, match="`turn`=1: expected `history` with a checkpoint of it"):
        report(state, graph, turn=1)


def test_the_turn_that_runs_is_the_last_one():
    graph = create_moa([{"a": FakeModel()}], FakeModel())
    graph = graph.compile(checkpointer=InMemorySaver())
    graph.invoke({"messages": "first"}, CONFIG)
    graph.invoke({"messages": "second"}, CONFIG, interrupt_before=["aggregator"])
    values = graph.get_state(CONFIG).values
    page = report(values, graph, history=graph.get_state_history(CONFIG))
    assert "turn 2 of 2" in page
    assert "There is no answer yet" in page


def test_command_reports_a_turn(tmp_path):
    def moa(*words):
        return CliRunner().invoke(app, list(words))

    for question in ("Where is it? It is here.", "Who is it? It is she."):
        moa("ask", question, "-p", "offline", "-t", "mine")
    assert "<title>Where is it?" in moa("report", "mine", "--turn", "1").output
    assert "<title>Who is it?" in moa("report", "mine").output
    told = moa("report", "mine", "--turn", "3")
    assert "`turn`=3: expected the number of a turn, 1 to 2" in str(told.exception)
