"""How long a run takes when calls hang, drip or break off; and how it is cancelled."""

import asyncio
import copy
import gc
import pickle
import threading
import time
import warnings
from contextlib import suppress

import anyio
import httpx
import pytest
from clock import Clock
from fakes import FakeModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from waiting import PATIENCE, take_turns, wait_for, wait_until

from moa_graph import (
    Agent,
    AggregatorError,
    ChatMoA,
    QuorumError,
    create_moa,
)
from moa_graph.graph import deadlines
from moa_graph.graph.policy import LayerPolicy


@pytest.fixture
def agent(server):
    """An agent of the local server that its client does not ask again."""

    def make(name, **options):
        return Agent(model=f"openai:{name}", base_url=server.url, **({"max_retries": 0} | options))

    return make


@pytest.fixture
def clock(monkeypatch):
    """What calls are cut off by; it stands still."""
    return Clock(monkeypatch, deadlines)


@pytest.fixture
def released():
    """Becomes true when the test is over: threads that wait for it then end."""
    event = threading.Event()
    yield event.is_set
    event.set()


@pytest.fixture
def left_deadlines(caplog):
    """Find the deadlines of layers that this process holds since the test began."""

    def find_all():
        gc.collect()
        return [each for each in gc.get_objects() if type(each) is deadlines.LayerDeadline]

    before = find_all()  # held: nothing else can have their ids

    def find():
        caplog.clear()  # the cause of a warning holds the frames that it went through
        return [each for each in find_all() if not any(each is other for other in before)]

    return find


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
def test_timeout_of_an_agent_ends_its_call(fault, server, agent, follow):
    server.model("slow", always=fault)
    graph = create_moa([[agent("slow", timeout=0.5), agent("fine")]], agent("w")).compile()
    result = follow(graph)
    error = result["proposals"]["layer_1_slow"]["error"]
    assert error == "no answer within its timeout of 0.5 s"
    assert result["messages"][-1].text.startswith("w on")


@pytest.mark.parametrize("kind", ["name", "object", "bound"])
async def test_call_is_bounded_without_a_timeout_too(kind, server, agent, clock):
    server.model("slow", always="hang")
    chat = ChatOpenAI(model="slow", base_url=server.url, api_key="x", max_retries=0)
    slow = {"name": agent("slow"), "object": chat, "bound": chat.bind(stop=["END"])}[kind]
    graph = create_moa([{"slow": slow, "fine": agent("fine")}], agent("w")).compile()
    result = {}
    async for part in graph.astream({"messages": "q"}, stream_mode="updates"):
        if "layer_1_fine" in part:
            await wait_until(lambda: server.calls_of("slow"))
            clock.advance(600)
        result |= part
    error = result["layer_1_slow"]["proposals"]["layer_1_slow"]["error"]
    assert error == "no answer within its timeout of 600 s"
    assert result["aggregator"]["messages"][-1].text.startswith("w on")


def test_what_makes_many_calls_is_bounded_by_its_user_alone(model):
    graph = create_moa([[model()]], model())
    several = [graph.compile(), RunnableLambda(str), ChatMoA([[model()]], model())]
    assert [Agent(model=each).call_timeout for each in several] == [None] * 3
    assert Agent(model=several[0], timeout=5).call_timeout == 5
    assert Agent(model="offline:lead").call_timeout is None
    assert Agent(model="openai:a").call_timeout == Agent(model=model()).call_timeout == 600


@pytest.mark.parametrize("fault", SLOW)
def test_deadline_of_a_layer_ends_its_calls(fault, server, agent, follow, clock):
    server.model("slow", always=fault)
    layers = [[agent("slow", timeout=60), agent("fine")], [agent("fine")]]
    graph = create_moa(layers, agent("w"), deadline=[0.5, None]).compile()
    result = follow(graph, lambda node: clock.advance(0.5 * (node == "layer_1_fine")))
    error = result["proposals"]["layer_1_slow"]["error"]
    assert error == "cut off by the layer's deadline of 0.5 s"
    assert result["messages"][-1].response_metadata["moa"]["failed"] == ["layer_1_slow"]


def test_call_is_cut_off_by_the_first_of_its_bounds(clock):
    begun = clock()
    layer = deadlines.LayerDeadline(
        LayerPolicy(quorum=1, grace=2.0, deadline=10.0), unfinished=3, required_answers=1
    )
    assert layer.call_deadline(begun + 1, None).expires_at == begun + 10
    assert layer.call_deadline(begun + 1, 3.0).expires_at == begun + 4
    clock.advance(5)
    layer.count_answer()
    assert layer.call_deadline(begun + 1, None).expires_at == begun + 7
    assert layer.call_deadline(begun + 6, None).expires_at == begun + 8
    assert layer.call_deadline(begun + 6, 1.0).expires_at == begun + 7


@pytest.mark.parametrize(
    "make_copy", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))]
)
def test_copy_of_a_layers_deadline_knows_the_answers_and_begins_its_time_anew(make_copy, clock):
    policy = LayerPolicy(quorum=2, grace=2.0, deadline=10.0)
    original = deadlines.LayerDeadline(policy, unfinished=2, required_answers=2)
    original.count_answer()
    clock.advance(5)
    layer, begun = make_copy(original), clock()
    assert layer.call_deadline(begun, None).expires_at == begun + 10
    layer.count_answer()
    assert layer.call_deadline(begun, None).expires_at == begun + 2
    assert [layer.proposer_finished(stopped=False) for _ in range(2)] == [False, True]


def test_deadlines_of_killed_runs_give_way_to_later_ones(monkeypatch, clock):
    """Who had answered is forgotten with them, as in another process."""
    policy = LayerPolicy(quorum=2, grace=1.0)

    def count_answer(run, error=OSError):
        """Tell whether it was the second answer that is known, after which grace begins."""
        monkeypatch.setattr(deadlines, "superstep_key", lambda: (run,))
        with (
            suppress(OSError),
            deadlines.enter_layer(1, policy, proposer_count=2, answered=0) as it,
        ):
            it.count_answer()
            known = it.call_deadline(clock(), None) is not None
            if error:
                raise error  # the run is stopped
        return known

    runs = range(4097)
    assert not any(count_answer(run) for run in runs)
    assert [count_answer(run) for run in (1, 4096, 0)] == [True, True, False]
    for run in [*runs, *runs]:
        count_answer(run, None)  # both proposers have ended, and nothing is held


def test_model_that_gives_up_by_itself_has_not_met_its_deadline(invoke):
    def give_up(_):
        raise TimeoutError("the database was busy")

    async def agive_up(messages):
        give_up(messages)

    layer = {"odd": RunnableLambda(give_up, agive_up), "fine": FakeModel()}
    graph = create_moa([layer], FakeModel(), grace=PATIENCE, deadline=PATIENCE).compile()
    result = invoke(graph, {"messages": "q"})
    assert result["proposals"]["layer_1_odd"]["error"] == "TimeoutError: the database was busy"


def test_client_that_notices_its_timeout_first_is_cut_off(invoke, clock):
    """It has the timeout of the agent too."""

    def time_out(_):
        clock.advance(0.5)
        raise httpx.ReadTimeout("timed out")

    async def atime_out(messages):
        time_out(messages)

    layer = {
        "slow": Agent(model=RunnableLambda(time_out, atime_out), timeout=0.5),
        "fine": FakeModel(),
    }
    slow = invoke(create_moa([layer], FakeModel()).compile(), {"messages": "q"})["proposals"][
        "layer_1_slow"
    ]
    assert slow["error"] == "no answer within its timeout of 0.5 s"
    assert slow["error_type"] == "DeadlineExceededError"


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_answer_is_a_failure_of_one_proposer(fault, server, agent, follow):
    server.model("broken", always=fault)
    result = follow(create_moa([[agent("broken"), agent("fine")]], agent("w")).compile())
    assert result["proposals"]["layer_1_broken"]["error"]
    assert result["proposals"]["layer_1_fine"]["content"] == "fine on q"
    assert result["messages"][-1].response_metadata["moa"]["answered"] == 1


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
    server.model("w", until_token=lambda position: position < 1, reply="many words")
    graph = create_moa([[agent("fine")]], agent("w", timeout=0.5)).compile()
    with pytest.raises(AggregatorError, match=r"no answer within its timeout of 0\.5 s"):
        async for _ in graph.astream({"messages": "q"}, stream_mode="messages"):
            pass
    assert not server.calls_of("w")[0].answered


def test_stragglers_get_their_grace_and_are_cut_off(server, agent, follow, clock):
    ended = []
    server.model("late", until=lambda: {"layer_1_one", "layer_1_two"} <= {*ended})
    server.model("never", always="hang")
    layer = [agent(name) for name in ("one", "two", "late", "never")]
    graph = create_moa([layer], agent("w"), quorum=2, grace=0.5).compile()

    def take(node):
        ended.append(node)
        clock.advance(0.5 * (node == "layer_1_late"))

    proposals = follow(graph, take)["proposals"]
    assert proposals["layer_1_late"]["content"] == "late on q"
    assert proposals["layer_1_never"]["error"] == (
        "cut off: the quorum was reached, and the grace of 0.5 s over"
    )


def test_without_a_quorum_there_is_no_grace(server, agent, follow):
    ended = []
    for name in ("late", "later"):
        server.model(name, until=lambda: ended)
    layer = [agent(name) for name in ("one", "late", "later")]
    graph = create_moa([layer], agent("w"), quorum=2, grace=0).compile()
    proposals = follow(graph, ended.append)["proposals"]
    answered = [node for node, proposal in proposals.items() if not proposal["error"]]
    assert "layer_1_one" in answered
    assert len(answered) >= 2


def test_request_that_is_cut_off_is_cancelled(server, agent):
    server.model("never", always="hang")
    graph = create_moa([[agent("one"), agent("never")]], agent("w"), grace=0.2).compile()

    async def run():
        await graph.ainvoke({"messages": "q"})
        await wait_until(lambda: server.calls_of("never")[0].ended)

    asyncio.run(run())
    assert not server.calls_of("never")[0].answered


def test_deadline_without_a_quorum_is_an_error_that_says_so(server, agent, follow):
    server.model("never", always="hang")
    graph = create_moa([[agent("never")] * 2], agent("w"), deadline=0.3).compile()
    with pytest.raises(QuorumError, match=r"cut off by the layer's deadline of 0\.3 s"):
        follow(graph)


def in_step(clock, width):
    """Make a model whose calls run so many at a time, begin and end together, and take a second."""
    together = threading.Barrier(width, action=lambda: clock.advance(1))
    together_async = asyncio.Barrier(width)

    def answer(_):
        together.wait(PATIENCE)
        return AIMessage("an answer")

    async def aanswer(_):
        if await together_async.wait() == 0:
            clock.advance(1)
        await take_turns()
        return AIMessage("an answer")

    return RunnableLambda(answer, aanswer)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_grace_counts_from_the_start_of_those_that_had_to_wait(concurrency, follow, clock):
    """Where few may run at a time, the last begin when the quorum has long been in."""
    layer = [in_step(clock, concurrency)] * 8
    graph = create_moa([layer], FakeModel(), quorum=1, grace=1.5).compile()
    result = follow(graph, config={"max_concurrency": concurrency})
    assert not any(p["error"] for p in result["proposals"].values())


def test_deadline_is_the_layers_not_each_calls(follow, clock):
    layer = [FakeModel(until=lambda: clock.advance(0.5) or True) for _ in range(4)]
    graph = create_moa([layer], FakeModel(), deadline=1.25, quorum=1).compile()
    result = follow(graph, config={"max_concurrency": 1})
    assert [len(model.asked) for model in layer] == [1, 1, 1, 0]
    assert result["proposals"]["layer_1_fake_4"]["error"].startswith("cut off by the layer's")


def test_answers_before_a_lost_quorum_count_for_the_grace(invoke, released):
    """Two of four are asked again; with the first of them the quorum of three is in."""
    layer = {name: FakeModel(answers=["x"]) for name in "ab"}
    layer["c"] = FakeModel(answers=[OSError(), "x"])
    layer["stuck"] = FakeModel(
        answers=[OSError()], until=lambda: len(layer["stuck"].asked) < 2 or released()
    )
    graph = create_moa([layer], FakeModel(), quorum=3, grace=0.1).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(QuorumError):
        invoke(graph, {"messages": "q"}, config)
    result = invoke(graph, None, config)
    assert result["messages"][-1].content == "an answer"
    assert result["proposals"]["layer_1_stuck"]["error"].startswith("cut off: the quorum was")


def test_retry_of_some_of_a_layer_leaves_nothing_behind(invoke, left_deadlines):
    """Who had answered before is not waited for: the race ends with those that are asked again."""
    asked = []

    def fail_first(_):
        asked.append("b")
        if len(asked) == 1:
            raise OSError  # a new one, which nobody holds
        return "x"

    layer = {"a": (model := FakeModel()), "b": RunnableLambda(fail_first)}
    graph = create_moa([layer], FakeModel(), quorum=2, grace=PATIENCE).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(QuorumError):
        invoke(graph, {"messages": "q"}, config)
    assert invoke(graph, None, config)["messages"][-1].content == "an answer"
    assert (len(model.asked), len(asked)) == (1, 2)
    del graph
    assert not left_deadlines()


async def cancel_when_ended(graph, config, nodes):
    """Run a graph until some nodes have ended, and cancel it then."""
    ended = asyncio.Event()

    async def run():
        seen = set()
        async for update in graph.astream({"messages": "q"}, config, stream_mode="updates"):
            seen.update(update)
            if nodes <= seen:
                ended.set()

    task = asyncio.create_task(run())
    await ended.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_grace_holds_after_a_cancelled_run_is_resumed(server, agent, clock, left_deadlines):
    """The quorum was in when the run was cancelled: the stragglers do not hold it up for ever."""
    for name in ("c", "d"):
        server.model(name, always="hang")
    layer = [agent(name) for name in "abcd"]
    graph = create_moa([layer], agent("w"), quorum=2, grace=0.2).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}

    async def run(graph):
        await cancel_when_ended(graph, config, {"layer_1_a", "layer_1_b"})
        clock.go()
        return await graph.ainvoke(None, config)

    result = asyncio.run(run(graph))
    assert result["messages"][-1].response_metadata["moa"]["answered"] == 2
    assert len(server.calls_of("a")) == 1
    del graph
    assert not left_deadlines()


# LangGraph 1.2.22 leaves behind the coroutines that were still waiting for `max_concurrency`.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine 'arun_with_retry':RuntimeWarning")
async def test_deadline_begins_anew_after_a_cancelled_run(clock):
    go_on = threading.Event()
    layer = [FakeModel(until=go_on.is_set) for _ in range(3)]
    graph = create_moa([layer], FakeModel(), deadline=2).compile(InMemorySaver())
    config = {"configurable": {"thread_id": "1"}, "max_concurrency": 1}
    task = asyncio.create_task(graph.ainvoke({"messages": "q"}, config))
    while not layer[0].asked:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    del task
    gc.collect()  # else a later test hears of the coroutines
    clock.advance(2)
    go_on.set()
    result = await graph.ainvoke(None, config)
    assert not any(p["error"] for p in result["proposals"].values())


@pytest.mark.parametrize("step", range(5))
async def test_run_that_is_cancelled_before_a_checkpoint_is_written_leaves_no_coroutine(step):
    class CancellingSaver(InMemorySaver):
        """Cancels the run when it is about to write its checkpoint number `step`."""

        def get_next_version(self, current, channel):
            if int(str(current or 0).split(".", maxsplit=1)[0]) >= step and not run.cancelling():
                asyncio.get_running_loop().call_soon(run.cancel)
            return super().get_next_version(current, channel)

    graph = create_moa([[FakeModel()]] * 2, FakeModel()).compile(CancellingSaver())
    config = {"configurable": {"thread_id": "1"}}
    run = asyncio.create_task(graph.ainvoke({"messages": "q"}, config, durability="sync"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await asyncio.wait({run})
        gc.collect()
    assert run.cancelled()
    assert [str(each.message) for each in caught] == []


async def test_call_that_cancels_itself_is_a_failure_of_one_proposer():
    gave_up = threading.Event()

    async def give_up(_):
        gave_up.set()
        raise asyncio.CancelledError("from a library")

    odd, slow = RunnableLambda(str, give_up), FakeModel(until=gave_up.is_set)
    graph = create_moa([{"odd": odd, "slow": slow}], FakeModel()).compile()
    result = await graph.ainvoke({"messages": "q"})
    assert "cancelled itself" in result["proposals"]["layer_1_odd"]["error"]
    assert result["proposals"]["layer_1_slow"]["content"] == "an answer"


def test_timeout_of_the_aggregator_is_kept(server, agent, follow):
    server.model("w", always="hang")
    graph = create_moa([[agent("a")]], agent("w", timeout=0.5), fallbacks=[agent("v")]).compile()
    assert follow(graph)["messages"][-1].text.startswith("v on")


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


def test_no_grace_asks_nobody_after_the_quorum(follow):
    layer = [FakeModel() for _ in range(4)]
    graph = create_moa([layer], FakeModel(), quorum=1, grace=0).compile()
    result = follow(graph, config={"max_concurrency": 1})
    assert sum(len(model.asked) for model in layer) == 1
    assert result["messages"][-1].response_metadata["moa"]["answered"] == 1


async def test_deadline_begins_anew_when_a_stopped_run_is_resumed(clock):
    """A human may take longer to answer than a layer may."""

    def ask(_):
        return {"messages": [("ai", f"{interrupt('first?')} and {interrupt('second?')}")]}

    person = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    graph = create_moa([{"person": person, "fine": FakeModel()}], FakeModel(), deadline=0.5)
    graph = graph.compile(checkpointer=InMemorySaver())
    config, inputs = {"configurable": {"thread_id": "1"}}, {"messages": "q"}
    for answer in ("one", "two"):
        await graph.ainvoke(inputs, config)
        clock.advance(1.2)
        inputs = Command(resume=answer)
    result = await graph.ainvoke(inputs, config)
    assert result["proposals"]["layer_1_person"]["content"] == "one and two"


def test_races_leave_nothing_behind(invoke, left_deadlines):
    def fail(_):
        raise OSError  # a new one each time, for the same reason

    layers = [[FakeModel(), RunnableLambda(fail)]] * 2
    for _ in range(3):
        graph = create_moa(layers, FakeModel(), grace=PATIENCE, deadline=PATIENCE).compile()
        invoke(graph, {"messages": "q"})
    del graph
    assert not left_deadlines()


@pytest.mark.parametrize("retries", [0, 2])
def test_client_retries_as_often_as_it_is_told(retries, server, agent, follow):
    server.model("down", always=503, retry_after=0.01)
    follow(create_moa([[agent("down", max_retries=retries), agent("fine")]], agent("w")).compile())
    assert len(server.calls_of("down")) == retries + 1


def test_retry_after_is_heeded(server, agent, follow, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(anyio, "sleep", sleep)
    server.model("busy", faults=[429], retry_after=7)
    result = follow(create_moa([[agent("busy", max_retries=1)]], agent("w")).compile())
    assert 7 in slept
    assert result["proposals"]["layer_1_busy"]["content"] == "busy on q"
    assert len(server.calls_of("busy")) == 2


def test_cancelled_run_cancels_its_calls_and_can_be_resumed(server, agent):
    server.model("slow", faults=["hang"])
    graph = create_moa([[agent("fast"), agent("slow")]], agent("w")).compile(
        checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "1"}}

    async def run():
        await cancel_when_ended(graph, config, {"layer_1_fast"})
        await wait_until(lambda: server.calls_of("slow")[0].ended)
        return await graph.ainvoke(None, config)

    assert asyncio.run(run())["messages"][-1].text.startswith("w on")
    assert (len(server.calls_of("fast")), len(server.calls_of("slow"))) == (1, 2)


def test_sync_only_model_does_not_hold_up_an_async_run(follow, released):
    stuck = RunnableLambda(lambda _: wait_for(released))
    graph = create_moa([{"stuck": stuck, "fine": FakeModel()}], FakeModel(), grace=0.2).compile()
    assert "grace of 0.2 s" in follow(graph)["proposals"]["layer_1_stuck"]["error"]
