"""The newest turn of a thread: whether it is answered, how to go on, what a question replaces."""

import asyncio
import operator
import signal
import sys
from typing import Annotated

import pytest
from fakes import FakeModel
from forked import run_forked
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from typing_extensions import TypedDict

from moa_graph import (
    RETRY,
    Agent,
    AggregatorError,
    QuorumError,
    create_moa,
    read_turn,
)

CONFIG = {"configurable": {"thread_id": "1"}}
DOWN = RuntimeError("down")


def two_layers(model, **models):
    """Two layers of two, and an aggregator."""
    all_models = {name: model() for name in ("a1", "b1", "a2", "b2")} | {"w": model(answers=["w"])}
    all_models |= models
    layers = [{"a": all_models["a1"], "b": all_models["b1"]}]
    layers.append({"a": all_models["a2"], "b": all_models["b2"]})
    return create_moa(layers, all_models["w"])


def turn_of(graph):
    return read_turn(graph.get_state(CONFIG))


def texts(result):
    return [message.text for message in result["messages"]]


@pytest.mark.parametrize("value", [{"messages": []}, {"configurable": {}}, None])
def test_what_is_no_snapshot_is_refused(value):
    with pytest.raises(ValueError, match=r"`snapshot`: expected the result of graph\.get_state"):
        read_turn(value)


def test_a_new_thread_has_no_turn(model):
    turn = turn_of(two_layers(model).compile(checkpointer=InMemorySaver()))
    assert (turn.status, turn.answered, turn.resume_input) == ("none", False, None)
    assert turn.ask("q") == {"messages": [HumanMessage("q")]}


def test_a_turn_that_ended_is_answered_and_the_next_question_keeps_it(model, invoke):
    graph = two_layers(model).compile(checkpointer=InMemorySaver())
    invoke(graph, turn_of(graph).ask("first"), CONFIG)
    assert turn_of(graph).answered
    assert texts(invoke(graph, turn_of(graph).ask("second"), CONFIG)) == [
        "first",
        "w",
        "second",
        "w",
    ]


@pytest.mark.parametrize("failing", ["a1 b1", "a2 b2", "w"])
def test_another_question_replaces_one_that_failed(failing, model, invoke):
    models = {name: model(answers=[DOWN, name]) for name in failing.split()}
    graph = two_layers(model, **models).compile(checkpointer=InMemorySaver())
    with pytest.raises((QuorumError, AggregatorError)):
        invoke(graph, {"messages": "failed"}, CONFIG)
    turn = turn_of(graph)
    assert (turn.status, [m.text for m in turn.messages]) == ("unanswered", ["failed"])
    result = invoke(graph, turn.ask("another"), CONFIG)
    assert texts(result)[0] == "another"
    assert len(result["messages"]) == 2
    for each in models.values():
        assert all("failed" not in message.text for message in each.asked[-1])
    assert {p["turn_id"] for p in result["proposals"].values()} == {result["messages"][0].id}


def test_questions_that_fail_one_after_another_do_not_pile_up(model, invoke):
    down = {name: model(answers=[DOWN, DOWN, DOWN, name]) for name in ("a1", "b1")}
    graph = two_layers(model, **down).compile(checkpointer=InMemorySaver())
    for number in range(3):
        with pytest.raises(QuorumError):
            invoke(graph, turn_of(graph).ask(f"failed {number}"), CONFIG)
    assert texts(invoke(graph, turn_of(graph).ask("last"), CONFIG)) == ["last", "w"]


def test_an_earlier_answer_and_an_outside_history_stay(model, invoke):
    down = {"w": model(answers=["w", DOWN, "w"])}
    graph = two_layers(model, **down).compile(checkpointer=InMemorySaver())
    history = [HumanMessage("outside"), HumanMessage("outside, too"), AIMessage("said")]
    invoke(graph, {"messages": [*history, HumanMessage("first")]}, CONFIG)
    with pytest.raises(AggregatorError):
        invoke(graph, {"messages": [HumanMessage("more"), HumanMessage("failed")]}, CONFIG)
    result = invoke(graph, turn_of(graph).ask("second"), CONFIG)
    assert texts(result) == [
        *["outside", "outside, too", "said", "first", "w"],
        *["more", "second", "w"],
    ]


def test_calls_of_tools_are_replaced_with_the_question_that_led_to_them(model):
    call = {"name": "t", "args": {}, "id": "1"}
    history = [
        HumanMessage("q"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("r", tool_call_id="1"),
    ]
    down = {"w": model(answers=[DOWN, "w"])}
    graph = two_layers(model, **down).compile(checkpointer=InMemorySaver())
    with pytest.raises(AggregatorError):
        graph.invoke({"messages": history}, CONFIG)
    assert [m.type for m in turn_of(graph).messages] == ["human", "ai", "tool"]
    assert texts(graph.invoke(turn_of(graph).ask("another"), CONFIG)) == ["another", "w"]


def test_a_question_that_was_stored_but_not_taken_in_is_unanswered(model):
    saver, builder = InMemorySaver(), two_layers(model)
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"messages": "first"}, CONFIG)
    stopping = builder.compile(checkpointer=saver)
    events = stopping.stream({"messages": "lost"}, CONFIG, stream_mode="checkpoints")
    next(events)  # the checkpoint of the input
    events.close()
    turn = turn_of(graph)
    assert graph.get_state(CONFIG).next == ("__start__",)
    assert (turn.status, turn.resume_input, turn.messages) == ("unanswered", None, [])
    assert texts(graph.invoke(turn.ask("second"), CONFIG)) == ["first", "w", "second", "w"]


def test_a_host_is_read_like_a_mixture(model, invoke):
    mixture = two_layers(model, w=model(answers=[DOWN, "w"])).compile()
    builder = StateGraph(MessagesState).add_node("moa", mixture).add_edge(START, "moa")
    graph = builder.compile(checkpointer=InMemorySaver())
    with pytest.raises(AggregatorError):
        invoke(graph, {"messages": "failed"}, CONFIG)
    assert turn_of(graph).status == "unanswered"
    assert texts(invoke(graph, turn_of(graph).ask("another"), CONFIG)) == ["another", "w"]


def test_a_turn_without_steps_left_is_asked_anew(model, invoke):
    graph = two_layers(model).compile(checkpointer=InMemorySaver())
    graph.update_state(CONFIG, {"messages": HumanMessage("q")}, as_node="aggregator")
    turn = turn_of(graph)
    assert (turn.status, turn.is_runnable) == ("unanswered", False)
    assert texts(invoke(graph, turn.resume_input, CONFIG)) == ["q", "w"]


def test_no_message_is_no_question(model):
    turn = turn_of(two_layers(model).compile(checkpointer=InMemorySaver()))
    with pytest.raises(ValueError, match=r"`question`=.*expected at least one message"):
        turn.ask([])


class TestUpdateState:
    """After `update_state`, whoever it speaks for, the run goes on to an answer."""

    @pytest.mark.parametrize("as_node", [None, "layer_2_aggregator", "layer_2_a"])
    def test_before_the_aggregator(self, as_node, model, invoke):
        graph = two_layers(model).compile(
            checkpointer=InMemorySaver(), interrupt_before=["aggregator"]
        )
        graph.invoke({"messages": "q"}, CONFIG)
        edit = {"proposals": {"layer_2_a": {"content": "edited"}}}
        graph.update_state(CONFIG, edit, as_node=as_node)
        assert graph.get_state(CONFIG).next
        while (turn := turn_of(graph)).status == "unanswered":
            result = invoke(graph, turn.resume_input, CONFIG)
        assert texts(result) == ["q", "w"]
        assert result["proposals"]["layer_2_a"]["content"] == "edited"

    @pytest.mark.parametrize("as_node", [None, "layer_1_aggregator"])
    def test_between_two_layers(self, as_node, model, invoke):
        second = model()
        graph = two_layers(model, a2=second).compile(
            checkpointer=InMemorySaver(), interrupt_before=["layer_2_a", "layer_2_b"]
        )
        graph.invoke({"messages": "q"}, CONFIG)
        edit = {"proposals": {"layer_1_a": {"content": "edited"}, "layer_1_b": None}}
        graph.update_state(CONFIG, edit, as_node=as_node)
        assert set(graph.get_state(CONFIG).next) == {"layer_2_a", "layer_2_b"}
        assert texts(invoke(graph, None, CONFIG)) == ["q", "w"]
        assert second.asked[0][0].text.endswith("models:\n1. edited")

    def test_a_mark_made_as_the_layer_aggregator_asks_that_proposer_again(self, model, invoke):
        first, other = model(answers=["one", "two"]), model()
        graph = two_layers(model, a1=first, b1=other).compile(
            checkpointer=InMemorySaver(), interrupt_before=["layer_2_a", "layer_2_b"]
        )
        graph.invoke({"messages": "q"}, CONFIG)
        mark = {"proposals": {"layer_1_a": {"error": RETRY}}}
        graph.update_state(CONFIG, mark, as_node="layer_1_aggregator")
        assert graph.get_state(CONFIG).next == ("layer_1_a",)
        invoke(graph, None, CONFIG)
        assert texts(invoke(graph, None, CONFIG)) == ["q", "w"]
        assert (len(first.asked), len(other.asked)) == (2, 1)

    def test_an_edit_while_a_failed_proposer_waits_to_be_asked_again(self, model, invoke):
        down = {name: model(answers=[DOWN, "never"]) for name in ("a1", "b1")}
        saver = InMemorySaver()
        graph = two_layers(model, **down).compile(checkpointer=saver)
        with pytest.raises(QuorumError):
            invoke(graph, {"messages": "q"}, CONFIG)
        stopping = two_layers(model, **down).compile(
            checkpointer=saver, interrupt_before=["layer_1_a", "layer_1_b"]
        )
        stopping.invoke(None, CONFIG)
        values = stopping.get_state(CONFIG).values
        assert "RuntimeError: down" in values["proposals"]["layer_1_a"]["error"]
        by_hand = {
            name: {"content": "by hand", "error": None} for name in ("layer_1_a", "layer_1_b")
        }
        graph.update_state(CONFIG, {"proposals": by_hand}, as_node="layer_1_aggregator")
        assert texts(invoke(graph, None, CONFIG)) == ["q", "w"]
        assert len(down["a1"].asked) == 1


class TestMessageBetweenLayers:
    """A message that joins the conversation while a turn runs belongs to that turn."""

    def run(self, invoke, stop, as_node, **models):
        graph = two_layers(FakeModel, **models).compile(
            checkpointer=InMemorySaver(), interrupt_before=[stop]
        )
        graph.invoke({"messages": "q"}, CONFIG)
        graph.update_state(CONFIG, {"messages": HumanMessage("in French")}, as_node=as_node)
        return graph, lambda: invoke(graph, None, CONFIG)

    @pytest.mark.parametrize(
        ("stop", "as_node"),
        [
            ("layer_1_aggregator", "layer_1_b"),
            ("layer_2_a", "layer_1_aggregator"),
            ("layer_2_aggregator", "layer_2_b"),
            ("aggregator", "layer_2_aggregator"),
        ],
    )
    def test_proposals_of_the_layer_before_stay(self, stop, as_node, invoke):
        writer = FakeModel(answers=["w"])
        graph, go_on = self.run(invoke, stop, as_node, w=writer)
        turn = turn_of(graph)
        assert [message.text for message in turn.messages] == ["q", "in French"]
        result = go_on()
        if graph.get_state(CONFIG).next:  # the other branch of the layer it stopped before
            result = go_on()
        assert sorted(result["proposals"]) == ["layer_1_a", "layer_1_b", "layer_2_a", "layer_2_b"]
        assert result["messages"][-1].response_metadata["moa"]["answered"] == 4
        assert {p["turn_id"] for p in result["proposals"].values()} == {result["messages"][0].id}
        assert writer.asked[0][-1].text == "in French"

    @pytest.mark.parametrize("layer", [1, 2])
    def test_a_layer_that_failed_is_asked_again_beside_the_others(self, layer, invoke):
        down = {f"{name}{layer}": FakeModel(answers=[DOWN, "fine"]) for name in "ab"}
        stop = f"layer_{layer}_aggregator"
        graph, go_on = self.run(invoke, stop, f"layer_{layer}_b", **down)
        with pytest.raises(QuorumError):
            go_on()
        while graph.get_state(CONFIG).next:
            result = go_on()
        assert result["messages"][-1].response_metadata["moa"]["answered"] == 4

    def test_what_answered_stays_where_its_sibling_is_asked_again(self, invoke):
        answered = FakeModel(answers=["fine"])
        models = {"a1": FakeModel(answers=[DOWN, "late"]), "b1": answered}
        graph = create_moa(
            [{"a": models["a1"], "b": answered}], FakeModel(answers=["w"]), quorum=2
        ).compile(checkpointer=InMemorySaver(), interrupt_before=["layer_1_aggregator"])
        graph.invoke({"messages": "q"}, CONFIG)
        graph.update_state(CONFIG, {"messages": HumanMessage("in French")}, as_node="layer_1_b")
        with pytest.raises(QuorumError):
            invoke(graph, None, CONFIG)
        while graph.get_state(CONFIG).next:
            result = invoke(graph, None, CONFIG)
        assert len(answered.asked) == 1
        assert result["messages"][-1].response_metadata["moa"]["answered"] == 2

    def test_another_question_replaces_it_with_the_turn(self, invoke):
        graph, _ = self.run(invoke, "layer_2_aggregator", "layer_2_b")
        invoke(graph, turn_of(graph).ask("another"), CONFIG)
        assert texts(invoke(graph, None, CONFIG)) == ["another", "w"]


DIES = """
import os, signal, sqlite3, sys, threading
from langgraph.checkpoint.sqlite import SqliteSaver
from moa_graph import Agent, create_moa

TASKS = [0, 2, 1, 2, 1, 1]  # whose writes are stored, in other threads, before a step's checkpoint

class Dying(SqliteSaver):
    written, change = {}, threading.Condition()

    def put_writes(self, config, writes, task_id, task_path=""):
        super().put_writes(config, writes, task_id, task_path)
        with self.change:
            self.written.setdefault(config["configurable"]["checkpoint_id"], set()).add(task_id)
            self.change.notify_all()

    def put(self, config, checkpoint, metadata, new_versions):
        if (step := metadata["step"]) == int(sys.argv[3]):
            before = config["configurable"].get("checkpoint_id")
            with self.change:
                self.change.wait_for(
                    lambda: step < 1 or len(self.written.get(before, ())) == TASKS[step]
                )
            os.kill(os.getpid(), signal.SIGKILL)
        return super().put(config, checkpoint, metadata, new_versions)

def agents(*names):
    return {n: Agent(model=f"openai:{n}", base_url=sys.argv[1], max_retries=0) for n in names}

moa = create_moa([agents("a", "b"), agents("c", "d")], agents("w")["w"])
connection = sqlite3.connect(sys.argv[2], check_same_thread=False)
moa.compile(checkpointer=Dying(connection)).invoke(
    {"messages": "q"}, {"configurable": {"thread_id": "1"}}, durability="sync"
)
"""


def asking(server):
    """Build the mixture of that program, here."""

    def agents(*names):
        return {n: Agent(model=f"openai:{n}", base_url=server.url, max_retries=0) for n in names}

    return create_moa([agents("a", "b"), agents("c", "d")], agents("w")["w"])


def killed_at(step, server, tmp_path):
    """Give the database of a run that was killed before it stored a step's checkpoint."""
    db = str(tmp_path / "runs.sqlite")
    done = run_forked([sys.executable, "-c", DIES, server.url, db, step])
    assert done.returncode == -signal.SIGKILL, done.stderr
    return db


@pytest.mark.process
@pytest.mark.parametrize("step", range(6))
def test_a_kill_between_the_writes_of_a_node_and_its_checkpoint_is_resumed(step, server, tmp_path):
    db = killed_at(step, server, tmp_path)
    with SqliteSaver.from_conn_string(db) as saver:
        graph = asking(server).compile(checkpointer=saver)
        assert step == 0 or not graph.get_state(CONFIG).next
        turn = turn_of(graph)
        assert (turn.status, turn.is_runnable, turn.resume_input) == ("unanswered", True, None)
        result = graph.invoke(turn.resume_input, CONFIG)
        assert [message.type for message in result["messages"]] == ["human", "ai"]
        assert turn_of(graph).answered
    assert len(server.calls) == 5


@pytest.mark.process
@pytest.mark.parametrize("step", range(-1, 6))
def test_another_question_after_a_kill_at_any_step_loses_no_answer_and_leaves_no_question(
    step, server, tmp_path
):
    db = killed_at(step, server, tmp_path)
    with SqliteSaver.from_conn_string(db) as saver:
        graph = asking(server).compile(checkpointer=saver)
        result = graph.invoke(turn_of(graph).ask("another"), CONFIG)
        asked = [message.text for message in result["messages"] if message.type == "human"]
        assert asked == (["q", "another"] if step == 5 else ["another"])  # step 5: it was answered
        assert [m.type for m in result["messages"]] == ["human", "ai"] * len(asked)
        assert texts(graph.invoke(turn_of(graph).ask("and"), CONFIG))[-2] == "and"


class TestHosts:
    """A host's own state is read, too."""

    def run(self, node, messages="q"):
        builder = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n")
        graph = builder.compile(checkpointer=InMemorySaver())
        graph.invoke({"messages": messages}, CONFIG)
        return graph

    @pytest.mark.parametrize(
        "last", [HumanMessage("done", name="agent"), ToolMessage("done", tool_call_id="1")]
    )
    def test_a_host_that_came_to_its_end_is_answered_whatever_its_last_message(self, last):
        graph = self.run(lambda _: {"messages": [last]})
        assert turn_of(graph).answered
        assert texts(graph.invoke(turn_of(graph).ask("next"), CONFIG))[:3] == ["q", "done", "next"]

    def test_messages_without_ids_are_refused(self):
        class State(TypedDict):
            messages: Annotated[list, operator.add]

        def fail(_):
            raise DOWN

        graph = StateGraph(State).add_node("n", fail).add_edge(START, "n")
        graph = graph.compile(checkpointer=InMemorySaver())
        with pytest.raises(RuntimeError, match="down"):
            graph.invoke({"messages": [HumanMessage("q")]}, CONFIG)
        with pytest.raises(ValueError, match="expected messages with ids"):
            turn_of(graph).ask("another")


class TestPiledUpQuestions:
    """Plain calls of `invoke` leave questions that failed behind one another."""

    @pytest.fixture
    def graph(self, model, invoke):
        down = {"w": model(answers=[DOWN, DOWN, "w"])}
        graph = two_layers(model, **down).compile(checkpointer=InMemorySaver())
        for messages in (["failed 1"], ["brought along", "failed 2"]):
            with pytest.raises(AggregatorError):
                invoke(graph, {"messages": messages}, CONFIG)
        return graph

    def test_the_last_one_is_replaced(self, graph, invoke):
        asked = turn_of(graph).ask("another")
        assert texts(invoke(graph, asked, CONFIG)) == ["failed 1", "brought along", "another", "w"]

    def test_all_of_them_are_replaced_where_the_history_is_given(self, graph, invoke):
        turn = read_turn(graph.get_state(CONFIG), graph.get_state_history(CONFIG))
        assert [message.text for message in turn.messages] == ["failed 1", "failed 2"]
        assert texts(invoke(graph, turn.ask("another"), CONFIG)) == [
            "brought along",
            "another",
            "w",
        ]


class TestQuorumAndUpdates:
    """What a human changes counts for the quorum as what a proposer wrote."""

    def failed(self, invoke, **answers):
        models = {name: FakeModel(answers=each) for name, each in answers.items()}
        writer = FakeModel(answers=["w"])
        graph = create_moa([models], writer, quorum=2).compile(checkpointer=InMemorySaver())
        with pytest.raises(QuorumError):
            invoke(graph, {"messages": "q"}, CONFIG)
        return graph, models

    def test_an_update_as_the_layer_aggregator_does_not_skip_the_quorum(self, invoke):
        graph, models = self.failed(invoke, a=["a"], b=[DOWN, "b"])
        added = {"messages": HumanMessage("in French")}
        graph.update_state(CONFIG, added, as_node="layer_1_aggregator")
        result = invoke(graph, None, CONFIG)
        assert result["messages"][-1].response_metadata["moa"]["answered"] == 2
        assert [len(model.asked) for model in models.values()] == [1, 2]

    def test_a_failed_proposal_that_is_dropped_is_not_missed(self, invoke):
        graph, models = self.failed(invoke, a=["a"], b=[DOWN, "b"])
        graph.update_state(CONFIG, {"proposals": {"layer_1_b": None}}, as_node="layer_1_aggregator")
        assert texts(invoke(graph, None, CONFIG)) == ["q", "w"]
        assert [len(model.asked) for model in models.values()] == [1, 1]

    @pytest.mark.parametrize("change", ["note", "another question"])
    def test_a_retry_keeps_its_siblings_whatever_the_conversation_became(self, change, invoke):
        graph, models = self.failed(invoke, a=["a"], b=[DOWN, "b"])
        question = graph.get_state(CONFIG).values["messages"][0]
        messages = {
            "note": [AIMessage("a note"), HumanMessage("in French")],
            "another question": [RemoveMessage(question.id), HumanMessage("instead")],
        }[change]
        graph.update_state(CONFIG, {"messages": messages}, as_node="layer_1_a")
        result = invoke(graph, None, CONFIG)
        assert result["messages"][-1].response_metadata["moa"]["answered"] == 2
        assert [len(model.asked) for model in models.values()] == [1, 2]

    async def test_a_turn_that_is_asked_whole_again_counts_no_answer_of_before(self):
        """With `grace`, an answer of before would have the others cut off at once."""
        late = asyncio.Event()

        async def slow(_):
            await late.wait()
            return AIMessage("late")

        async def fast(_):
            late.set()
            return AIMessage("fast")

        layer = {"a": RunnableLambda(fast), "b": RunnableLambda(slow), "c": RunnableLambda(slow)}
        moa = create_moa([layer], FakeModel(answers=["w"]), quorum=3, grace=0)
        graph = moa.compile(checkpointer=InMemorySaver())
        first = await graph.ainvoke({"messages": "q"}, CONFIG)
        gone = {"messages": RemoveMessage(first["messages"][-1].id)}
        await graph.aupdate_state(CONFIG, gone, as_node="aggregator")
        late.clear()
        turn = read_turn(await graph.aget_state(CONFIG))
        result = await graph.ainvoke(turn.resume_input, CONFIG)
        assert result["messages"][-1].response_metadata["moa"]["answered"] == 3
