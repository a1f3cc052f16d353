"""How long a run takes when calls hang, drip or break off; and how it is cancelled."""

import asyncio
import time

import pytest
from fakes import FakeModel
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from moa_graph import Agent, AggregatorError, QuorumError, create_moa, race
from moa_graph.rules import Rules


@pytest.fixture
def agent(server):
    """An agent of the local server that its client does not ask again."""

    def make(name, **options):
        return Agent(model=f"openai:{name}", base_url=server.url, **({"max_retries": 0} | options))

    return make


@pytest.fixture
def timed(invoke):
    """Invoke a graph, and give what came of it and after how many seconds."""

    def call(graph, config=None):
        started = time.monotonic()
        try:
            outcome = invoke(graph, {"messages": "q"}, config)
        except Exception as error:
            outcome = error
        return outcome, time.monotonic() - started

    return call


SLOW = ["hang", "drip"]
BROKEN = [
    "reset",
    "truncate",
    "malformed",
    "deep",
    "no choices",
    "empty",
    "content filter",
    "wrong type",
    500,
    503,
    429,
]


@pytest.mark.parametrize("fault", SLOW)
def test_timeout_of_an_agent_ends_its_call(fault, server, agent, timed):
    server.model("slow", always=fault)
    graph = create_moa([[agent("slow", timeout=0.5), agent("fine")]], agent("w")).compile()
    result, seconds = timed(graph)
    assert 0.5 <= seconds < 3
    error = result["proposals"]["layer_1_slow"]["error"]
    assert "timeout of 0.5 s" in error or "timed out" in error.lower()
    assert result["messages"][-1].text.startswith("w on")


@pytest.mark.parametrize("fault", SLOW)
def test_deadline_of_a_layer_ends_its_calls(fault, server, agent, timed):
    server.model("slow", always=fault)
    layers = [[agent("slow", timeout=60), agent("fine")], [agent("fine")]]
    result, seconds = timed(create_moa(layers, agent("w"), deadline=[0.5, None]).compile())
    assert 0.5 <= seconds < 3
    error = result["proposals"]["layer_1_slow"]["error"]
    assert error == "cut off by the layer's deadline of 0.5 s"


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_answer_is_a_failure_of_one_proposer(fault, server, agent, timed):
    server.model("broken", always=fault)
    result, seconds = timed(create_moa([[agent("broken"), agent("fine")]], agent("w")).compile())
    assert seconds < 3
    assert result["proposals"]["layer_1_broken"]["error"]
    assert result["proposals"]["layer_1_fine"]["content"] == "fine on q"
    assert result["messages"][-1].response_metadata["moa"]["received"] == 1


async def test_stream_that_breaks_off_is_an_error_of_the_aggregator(server, agent):
    server.model("w", faults=["truncate"], reply="many words " * 20)
    graph = create_moa([[agent("fine")]], agent("w")).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(AggregatorError):
        async for _ in graph.astream({"messages": "q"}, config, stream_mode="messages"):
            pass
    assert (await graph.ainvoke(None, config))["messages"][-1].text.startswith("many words")
    assert len(server.calls_of("fine")) == 1


async def test_stream_that_stalls_ends_within_the_timeout(server, agent):
    server.model("w", chunk_delay=5, reply="many words")
    graph = create_moa([[agent("fine")]], agent("w", timeout=0.5)).compile()
    started = time.monotonic()
    with pytest.raises(AggregatorError, match=r"no answer within its timeout of 0\.5 s"):
        async for _ in graph.astream({"messages": "q"}, stream_mode="messages"):
            pass
    assert time.monotonic() - started < 3


def test_stragglers_get_their_grace_and_are_cut_off(server, agent, timed):
    server.model("late", latency=0.6)
    server.model("never", always="hang")
    layer = [agent(name) for name in ("one", "two", "late", "never")]
    result, seconds = timed(create_moa([layer], agent("w"), quorum=2, grace=1.2).compile())
    assert 1.2 <= seconds < 3
    proposals = result["proposals"]
    assert proposals["layer_1_late"]["content"] == "late on q"
    assert proposals["layer_1_never"]["error"] == (
        "cut off: the quorum was in, and the grace of 1.2 s over"
    )


def test_without_a_quorum_there_is_no_grace(server, agent, timed):
    for name in ("late", "later"):
        server.model(name, latency=0.6)
    layer = [agent(name) for name in ("one", "late", "later")]
    result, _ = timed(create_moa([layer], agent("w"), quorum=2, grace=0).compile())
    answered = [node for node, p in result["proposals"].items() if not p["error"]]
    assert "layer_1_one" in answered
    assert len(answered) >= 2


def test_request_that_is_cut_off_is_cancelled(server, agent):
    server.model("never", always="hang")
    graph = create_moa([[agent("one"), agent("never")]], agent("w", timeout=5), grace=0.2).compile()

    async def run():
        await graph.ainvoke({"messages": "q"})
        await asyncio.sleep(0.3)
        return server.calls_of("never")[0]

    call = asyncio.run(run())
    assert call.ended is not None
    assert not call.answered


def test_deadline_without_a_quorum_is_an_error_that_says_so(server, agent, timed):
    server.model("never", always="hang")
    graph = create_moa([[agent("never")] * 2], agent("w"), deadline=0.3).compile()
    error, seconds = timed(graph)
    assert isinstance(error, QuorumError)
    assert "cut off by the layer's deadline of 0.3 s" in str(error)
    assert seconds < 3


@pytest.mark.parametrize("concurrency", [1, 2])
def test_grace_counts_from_the_start_of_those_that_had_to_wait(concurrency, timed):
    """Where few may run at a time, the last begin when the quorum has long been in."""
    layer = [FakeModel(delay=0.3) for _ in range(4)]
    graph = create_moa([layer], FakeModel(), quorum=1, grace=0.6).compile()
    result, _ = timed(graph, {"max_concurrency": concurrency})
    assert not any(p["error"] for p in result["proposals"].values())


def test_deadline_is_the_layers_not_each_calls(timed):
    layer = [FakeModel(delay=0.4) for _ in range(4)]
    graph = create_moa([layer], FakeModel(), deadline=1.0, quorum=1).compile()
    result, _ = timed(graph, {"max_concurrency": 1})
    assert 1 <= sum(len(model.asked) for model in layer) <= 3
    assert result["proposals"]["layer_1_fake_4"]["error"].startswith("cut off by the layer's")


def test_answers_before_a_lost_quorum_count_for_the_grace(invoke):
    """Two of four are asked again; with the first of them the quorum of three is in."""
    first = [FakeModel(answers=["x"]), FakeModel(answers=["x"])]
    again = [FakeModel(answers=[OSError(), "x"]), FakeModel(answers=[OSError(), "x"], delay=0.1)]
    graph = create_moa([first + again], FakeModel(), quorum=3, grace=0.1).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(QuorumError):
        invoke(graph, {"messages": "q"}, config)
    again[1].delay = 5  # the copy that the graph made keeps its own
    race_of_two = race.Race(Rules(quorum=3, grace=0.1), runners=2, needed=1)
    race_of_two.answer()
    assert race_of_two.limit(0, None) is not None
    assert invoke(graph, None, config)["messages"][-1].content == "an answer"


def test_grace_holds_after_a_cancelled_run_is_resumed(server, agent):
    """The quorum was in when the run was cancelled: the stragglers do not hold it up for ever."""
    for name in ("c", "d"):
        server.model(name, always="hang")
    layer = [agent(name) for name in "abcd"]
    graph = create_moa([layer], agent("w"), quorum=2, grace=1).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}

    async def run():
        task = asyncio.create_task(graph.ainvoke({"messages": "q"}, config))
        while sum(call.answered for call in server.calls) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait({task})
        return await asyncio.wait_for(graph.ainvoke(None, config), 10)

    result = asyncio.run(run())
    assert result["messages"][-1].response_metadata["moa"]["received"] == 2
    assert len(server.calls_of("a")) == 1
    assert not race._races


# LangGraph 1.2.22 leaves behind the coroutines that were still waiting for `max_concurrency`.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine 'arun_with_retry':RuntimeWarning")
async def test_deadline_begins_anew_after_a_cancelled_run():
    layer = [FakeModel(delay=0.4) for _ in range(3)]
    graph = create_moa([layer], FakeModel(), deadline=2).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}, "max_concurrency": 1}
    task = asyncio.create_task(graph.ainvoke({"messages": "q"}, config))
    await asyncio.wait({task}, timeout=0.2)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(2)
    result = await graph.ainvoke(None, config)
    assert not any(p["error"] for p in result["proposals"].values())


async def test_call_that_cancels_itself_is_a_failure_of_one_proposer():
    async def give_up(_):
        raise asyncio.CancelledError("from a library")

    odd, slow = RunnableLambda(str, give_up), FakeModel(delay=0.3)
    graph = create_moa([{"odd": odd, "slow": slow}], FakeModel()).compile()
    result = await graph.ainvoke({"messages": "q"})
    assert "cancelled itself" in result["proposals"]["layer_1_odd"]["error"]
    assert result["proposals"]["layer_1_slow"]["content"] == "an answer"


def test_timeout_of_the_aggregator_is_kept(server, agent, timed):
    server.model("w", always="hang")
    graph = create_moa([[agent("a")]], agent("w", timeout=0.5), fallbacks=[agent("v")]).compile()
    result, seconds = timed(graph)
    assert result["messages"][-1].text.startswith("v on")
    assert seconds < 3


@pytest.mark.parametrize("loser", ["proposer", "aggregator"])
async def test_graph_that_stops_for_a_human_is_no_failure(loser):
    def ask(_):
        return {"messages": [("ai", interrupt("what?"))]}

    person = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    other = FakeModel()
    layer = {"a": person if loser == "proposer" else other}
    graph = create_moa([layer], person if loser == "aggregator" else other).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    stopped = await graph.ainvoke({"messages": "q"}, config)
    assert stopped["__interrupt__"][0].value == "what?"
    result = await graph.ainvoke(Command(resume="this"), config)
    said = result["proposals"]["layer_1_a"]["content"], result["messages"][-1].text
    assert "this" in said


def test_no_grace_asks_nobody_after_the_quorum(timed):
    layer = [FakeModel(delay=0.1) for _ in range(4)]
    graph = create_moa([layer], FakeModel(), quorum=1, grace=0).compile()
    result, _ = timed(graph, {"max_concurrency": 1})
    assert sum(len(model.asked) for model in layer) == 1
    assert result["messages"][-1].response_metadata["moa"]["received"] == 1


async def test_deadline_begins_anew_when_a_stopped_run_is_resumed():
    """A human may take longer to answer than a layer may."""

    def ask(_):
        return {"messages": [("ai", f"{interrupt('first?')} and {interrupt('second?')}")]}

    person = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    graph = create_moa([{"person": person, "fine": FakeModel()}], FakeModel(), deadline=0.5)
    graph = graph.compile(checkpointer=InMemorySaver())
    config, inputs = {"configurable": {"thread_id": "1"}}, {"messages": "q"}
    for answer in ("one", "two"):
        await graph.ainvoke(inputs, config)
        await asyncio.sleep(1.2)
        inputs = Command(resume=answer)
    result = await graph.ainvoke(inputs, config)
    assert result["proposals"]["layer_1_person"]["content"] == "one and two"


def test_races_leave_nothing_behind(timed):
    layers = [[FakeModel(), FakeModel(answers=[OSError()])]] * 2
    before = set(race._races)
    for _ in range(3):
        timed(create_moa(layers, FakeModel(), grace=1, deadline=5).compile())
    assert set(race._races) == before


@pytest.mark.parametrize("retries", [0, 2])
def test_client_retries_as_often_as_it_is_told(retries, server, agent, timed):
    server.model("down", always=503)
    graph = create_moa([[agent("down", max_retries=retries), agent("fine")]], agent("w")).compile()
    timed(graph)
    assert len(server.calls_of("down")) == retries + 1


def test_retry_after_is_heeded(server, agent, timed):
    server.model("busy", faults=[429], retry_after=1)
    result, seconds = timed(create_moa([[agent("busy", max_retries=1)]], agent("w")).compile())
    first, second = server.calls_of("busy")
    assert second.started - first.started >= 1
    assert result["proposals"]["layer_1_busy"]["content"] == "busy on q"
    assert seconds < 4


def test_cancelled_run_cancels_its_calls_and_can_be_resumed(server, agent):
    server.model("slow", faults=["hang"])
    graph = create_moa([[agent("fast"), agent("slow")]], agent("w")).compile(
        checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "1"}}

    async def run():
        task = asyncio.create_task(graph.ainvoke({"messages": "q"}, config))
        while len(server.calls) < 2 or not server.calls_of("fast")[0].answered:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        cancelled = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while server.calls_of("slow")[0].ended is None:
            await asyncio.sleep(0.01)
            assert time.monotonic() - cancelled < 1
        return await graph.ainvoke(None, config)

    assert asyncio.run(run())["messages"][-1].text.startswith("w on")
    assert (len(server.calls_of("fast")), len(server.calls_of("slow"))) == (1, 2)


def test_sync_only_model_does_not_hold_up_an_async_run(timed):
    stuck = RunnableLambda(lambda _: time.sleep(20))
    graph = create_moa([{"stuck": stuck, "fine": FakeModel()}], FakeModel(), grace=0.2).compile()
    result, seconds = timed(graph)
    assert seconds < 3
    assert "grace of 0.2 s" in result["proposals"]["layer_1_stuck"]["error"]
