"""When a layer goes on, gives up, or asks again; and what the aggregator does."""

import asyncio

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import (
    RETRY,
    AggregatorError,
    QuorumError,
    create_moa,
)
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.quorum import nodes_to_retry, record_unreported_failure

DOWN = OSError("down")


def layer(model, answering, failing):
    """A layer of models that answer and models that fail for ever."""
    good = {f"good{n}": model() for n in range(answering)}
    return good | {f"bad{n}": model(answers=[DOWN]) for n in range(failing)}


@pytest.mark.parametrize(
    ("quorum", "answering", "failing", "goes_on"),
    [
        (0.5, 2, 2, True),
        (0.5, 2, 3, False),  # half of five, rounded up, is three
        (0.5, 1, 1, True),
        (1.0, 3, 1, False),
        (1.0, 3, 0, True),
        (1, 1, 5, True),
        (3, 2, 4, False),
        (3, 3, 3, True),
        (0.01, 1, 5, True),
    ],
)
def test_layer_goes_on_with_its_quorum(quorum, answering, failing, goes_on, invoke, model):
    layers = [layer(model, answering, failing)]
    graph = create_moa(layers, model(), quorum=quorum).compile()
    if goes_on:
        account = invoke(graph, {"messages": "q"})["messages"][-1].response_metadata["moa"]
        assert account["failed"] == [f"layer_1_bad{n}" for n in range(failing)]
        assert set(account["errors"].values()) <= {"OSError: down"}
    else:
        with pytest.raises(QuorumError) as error:
            invoke(graph, {"messages": "q"})
        assert set(error.value.failures) == {f"layer_1_bad{n}" for n in range(failing)}


def test_layers_may_need_different_quorums(invoke, model):
    layers = [layer(model, 1, 3), layer(model, 1, 3)]
    with pytest.raises(QuorumError, match="layer 2: 1 of 4 proposers answered, 3 required"):
        invoke(create_moa(layers, model(), quorum=[1, 3]).compile(), {"messages": "q"})


@pytest.mark.parametrize("quorum", [0, 5, -1, 0.0, 1.5, True, "half", None])
def test_senseless_quorum_is_refused(quorum, model):
    with pytest.raises(ValueError, match="`quorum`") as error:
        create_moa([[model()] * 4], model(), quorum=quorum)
    assert str(error.value) == (
        f"`quorum`={quorum!r}: expected a number of proposers from 1 to 4, the size of the layer, "
        "or a share of the layer as a float above 0.0 and up to 1.0 (all)"
    )


@pytest.mark.parametrize("option", ["quorum", "grace", "deadline"])
@pytest.mark.parametrize("values", [[1], (1, 1, 1), []])
def test_one_value_for_each_layer_or_for_all(option, values, model):
    with pytest.raises(ValueError, match=f"`{option}`") as error:
        create_moa([[model()]] * 2, model(), **{option: values})
    expected = "expected one value, or one for each of 2 layers"
    assert str(error.value) == f"`{option}`={values!r}: {expected}"


@pytest.mark.parametrize("option", ["grace", "deadline"])
@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1"])
def test_senseless_seconds_are_refused(seconds, option, model):
    with pytest.raises(ValueError, match=f"`{option}`") as error:
        create_moa([[model()]], model(), **{option: seconds})
    assert str(error.value) == f"`{option}`={seconds!r}: expected seconds, 0 or more, or None"


class Flaky:
    """A proposer that fails as often as told, in a layer that counts who was asked."""

    def __init__(self, failures=0):
        self.left, self.asked = failures, 0

    def model(self):
        def answer(_):
            self.asked += 1
            self.left -= 1
            if self.left >= 0:
                raise DOWN
            return AIMessage("fine")

        async def aanswer(messages):
            await asyncio.sleep(0)
            return answer(messages)

        return RunnableLambda(answer, aanswer)


def embedded(moa):
    """A host of the mixture."""
    host = StateGraph(MessagesState)
    host.add_node("moa", moa.compile())
    host.add_edge(START, "moa")
    host.add_edge("moa", END)
    return host


async def lose_and_resume(run, concurrency):
    """Lose a quorum twice, resume twice; nobody who answered is asked again."""
    steady, once, twice = Flaky(), Flaky(1), Flaky(2)
    before = Flaky()
    layers = [
        {"before": before.model()},
        {"steady": steady.model(), "once": once.model(), "twice": twice.model()},
    ]
    moa = create_moa(layers, FakeModel(answers=["final"]), quorum=[1, 3])
    config = {"configurable": {"thread_id": "1"}}
    if concurrency:
        config["max_concurrency"] = concurrency
    with pytest.raises(QuorumError, match="1 of 3"):
        await run(moa, {"messages": "q"}, config)
    assert (before.asked, steady.asked, once.asked, twice.asked) == (1, 1, 1, 1)
    with pytest.raises(QuorumError, match="2 of 3"):
        await run(moa, None, config)
    assert (before.asked, steady.asked, once.asked, twice.asked) == (1, 1, 2, 2)
    result = await run(moa, None, config)
    assert result["messages"][-1].content == "final"
    assert (before.asked, steady.asked, once.asked, twice.asked) == (1, 1, 2, 3)


@pytest.mark.parametrize("concurrency", [None, 1, 2])
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("style", ["sync", "async"])
@pytest.mark.parametrize(
    "kind", ["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
async def test_resume_asks_exactly_those_that_failed(
    kind, style, host, concurrency, tmp_path, request
):
    """True for every saver, sync and async, at the top and in a host, at any concurrency."""
    build = embedded if host else lambda moa: moa
    if kind == "memory":
        saver = InMemorySaver()

        async def run(moa, inputs, config):
            graph = build(moa).compile(checkpointer=saver)
            if style == "sync":
                return await asyncio.to_thread(graph.invoke, inputs, config)
            return await graph.ainvoke(inputs, config)

        await lose_and_resume(run, concurrency)
        return
    where = str(tmp_path / "x.sqlite")
    if kind == "postgres":
        where = request.getfixturevalue("postgres")

    async def run(moa, inputs, config):
        if style == "sync":

            def call():
                with open_saver(kind, where) as saver:
                    return build(moa).compile(checkpointer=saver).invoke(inputs, config)

            return await asyncio.to_thread(call)
        async with open_async_saver(kind, where) as saver:
            return await build(moa).compile(checkpointer=saver).ainvoke(inputs, config)

    await lose_and_resume(run, concurrency)


def open_saver(kind, where):
    if kind == "sqlite":
        return SqliteSaver.from_conn_string(where)
    return PostgresSaver.from_conn_string(where)


def open_async_saver(kind, where):
    if kind == "sqlite":
        return AsyncSqliteSaver.from_conn_string(where)
    return AsyncPostgresSaver.from_conn_string(where)


def test_failure_does_not_cancel_or_repeat_a_sibling(follow, model):
    ended = []
    slow = model(answers=["fine"], until=lambda: "layer_1_bad" in ended)
    layers = [{"bad": model(answers=[DOWN]), "slow": slow}]
    graph = create_moa(layers, model()).compile(checkpointer=InMemorySaver())
    result = follow(graph, ended.append, {"configurable": {"thread_id": "1"}})
    assert result["proposals"]["layer_1_slow"]["content"] == "fine"
    assert len(slow.asked) == 1


def test_a_human_has_a_proposal_asked_for_again(invoke, model):
    one, two, writer = model(answers=["a1"]), model(answers=["b1", "b2"]), model()
    graph = create_moa([{"a": one, "b": two}], writer).compile(
        checkpointer=InMemorySaver(), interrupt_before=["layer_1_aggregator"]
    )
    config = {"configurable": {"thread_id": "1"}}
    invoke(graph, {"messages": "q"}, config)
    again = {"layer_1_b": {"error": RETRY}}
    graph.update_state(config, {"proposals": again}, as_node="layer_1_b")
    invoke(graph, None, config)  # asks, and stops before the layer aggregator once more
    invoke(graph, None, config)
    assert (len(one.asked), len(two.asked)) == (1, 2)
    assert writer.asked[0][0].content.endswith("\n1. a1\n2. b2")


def test_fallback_writes_where_the_aggregator_fails(invoke, model):
    proposer, broken, spare = model(), model(answers=[DOWN]), model(name="spare", answers=["spare"])
    never = model(answers=["never"])
    graph = create_moa([[proposer]], broken, fallbacks=[spare, never]).compile()
    message = invoke(graph, {"messages": "q"})["messages"][-1]
    assert message.content == "spare"
    account = message.response_metadata["moa"]
    assert account["aggregator"] == "spare"
    assert account["errors"] == {"aggregator": "OSError: down"}
    assert (len(broken.asked), len(spare.asked), len(never.asked)) == (1, 1, 0)
    assert spare.asked == broken.asked


def test_resume_after_failed_aggregators_asks_only_them(invoke, model):
    proposer, first, second = model(), model(answers=[DOWN]), model(answers=[DOWN, "final"])
    graph = create_moa([[proposer]], first, fallbacks=[second]).compile(
        checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(AggregatorError) as error:
        invoke(graph, {"messages": "q"}, config)
    assert error.value.failures == {"aggregator": "OSError: down", "fallback_1": "OSError: down"}
    assert invoke(graph, None, config)["messages"][-1].content == "final"
    assert (len(proposer.asked), len(first.asked), len(second.asked)) == (1, 2, 2)


def test_fallback_that_makes_no_sense_is_named(model):
    with pytest.raises(ValueError, match=r"`fallbacks\[0\]`: expected 'provider:model'"):
        create_moa([[model()]], model(), fallbacks=["gpt"])


def failed(attempt_id):
    return {"error": f"no {attempt_id}", "attempt_id": attempt_id}


def test_error_names_each_failure_and_what_is_needed():
    error = QuorumError(2, {"layer_2_a": "no key", "layer_2_b": "no answer"}, asked=3, needed=2)
    assert str(error) == (
        "layer 2: 1 of 3 proposers answered, 2 required: layer_2_a: no key; layer_2_b: no answer"
    )
    assert str(QuorumError(1, {}, asked=0, needed=1)) == (
        "layer 1: 0 of 0 proposers answered, 1 required: all were dropped"
    )


def test_failures_that_nobody_came_for_give_way_to_later_ones():
    """A failure that is forgotten is asked again, as one of another process is."""
    policy = LayerPolicy(quorum=1)
    for number in range(10_001):
        record_unreported_failure(f"{number}", OSError(f"{number}"))
    assert nodes_to_retry(1, {"a": failed("0")}, policy) == ("a",)
    for kept in ("1", "10000"):
        with pytest.raises(QuorumError) as caught:
            nodes_to_retry(1, {"a": failed(kept)}, policy)
        assert str(caught.value.__cause__) == kept
        assert nodes_to_retry(1, {"a": failed(kept)}, policy) == ("a",)


def test_failure_of_a_layer_that_goes_on_is_not_reported_later():
    policy = LayerPolicy(quorum=1)
    record_unreported_failure("1", OSError())
    fine = {"error": None, "attempt_id": "2"}
    assert nodes_to_retry(1, {"a": failed("1"), "b": fine}, policy) == ()
    assert nodes_to_retry(1, {"a": failed("1")}, policy) == ("a",)
