"""Two questions at once on one thread: the second is refused by name, and nobody else is."""

import asyncio
import gc
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, Send, interrupt
from turned_clock import DAY, turn_clock
from waiting import PATIENCE, wait_until

from moa_graph import ClockError, QuorumError, ThreadInUseError, create_moa
from moa_graph.graph import thread_claims

CONFIG = {"configurable": {"thread_id": "1"}}
QUESTION = {"messages": "q"}


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    """Refuse at once."""
    monkeypatch.setattr(thread_claims, "PATIENCE_S", 0.0)


class Gate:
    """A model that answers when it is let through; sync and async."""

    def __init__(self):
        self.entered, self.opened = threading.Event(), threading.Event()
        self.model = RunnableLambda(self.answer, self.aanswer)

    def answer(self, _):
        self.entered.set()
        assert self.opened.wait(60)
        return "fine"

    async def aanswer(self, _):
        self.entered.set()
        await wait_until(self.opened.is_set)
        return "fine"


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def build(gate, saver, **options):
    return create_moa([{"a": gate.model}], RunnableLambda(lambda _: "answer")).compile(
        saver, **options
    )


def test_second_question_at_once_is_refused_and_the_first_kept(gate):
    graph = build(gate, InMemorySaver())
    with ThreadPoolExecutor() as pool:
        first = pool.submit(graph.invoke, QUESTION, CONFIG)
        assert gate.entered.wait(60)
        with pytest.raises(ThreadInUseError, match="thread_id='1': another run"):
            graph.invoke({"messages": "second"}, CONFIG)
        gate.opened.set()
        first.result()
    assert [m.text for m in graph.get_state(CONFIG).values["messages"]] == ["q", "answer"]
    graph.invoke({"messages": "second"}, CONFIG)
    assert len(graph.get_state(CONFIG).values["messages"]) == 4


async def test_second_question_at_once_is_refused_async(gate):
    graph = build(gate, InMemorySaver())
    first = asyncio.create_task(graph.ainvoke(QUESTION, CONFIG))
    await wait_until(gate.entered.is_set)
    with pytest.raises(ThreadInUseError):
        await graph.ainvoke({"messages": "second"}, CONFIG)
    gate.opened.set()
    await first
    await graph.ainvoke({"messages": "second"}, CONFIG)
    assert len(graph.get_state(CONFIG).values["messages"]) == 4


async def test_sync_and_async_runs_see_each_other(gate):
    graph = build(gate, InMemorySaver())
    first = asyncio.create_task(graph.ainvoke(QUESTION, CONFIG))
    await wait_until(gate.entered.is_set)
    with pytest.raises(ThreadInUseError):
        await asyncio.to_thread(graph.invoke, QUESTION, CONFIG)
    gate.opened.set()
    await first


async def test_another_graph_on_the_same_checkpointer_is_refused_too(gate):
    saver = InMemorySaver()
    first = asyncio.create_task(build(gate, saver).ainvoke(QUESTION, CONFIG))
    await wait_until(gate.entered.is_set)
    with pytest.raises(ThreadInUseError):
        await build(Gate(), saver).with_config(tags=["other"]).ainvoke(QUESTION, CONFIG)
    gate.opened.set()
    await first


async def test_other_threads_and_checkpointers_are_not_refused(gate):
    saver = InMemorySaver()
    first = asyncio.create_task(build(gate, saver).ainvoke(QUESTION, CONFIG))
    await wait_until(gate.entered.is_set)
    gate.opened.set()
    await asyncio.gather(
        build(gate, saver).ainvoke(QUESTION, {"configurable": {"thread_id": "2"}}),
        build(gate, InMemorySaver()).ainvoke(QUESTION, CONFIG),
        build(gate, None).ainvoke(QUESTION, CONFIG),
        build(gate, None).ainvoke(QUESTION, CONFIG),
        first,
    )


def failing(calls):
    def answer(_):
        calls.append(1)
        raise ValueError("no")

    return RunnableLambda(answer)


def test_thread_is_free_after_a_failure(invoke):
    calls = []
    graph = create_moa([[failing(calls)]], RunnableLambda(lambda _: "x")).compile(InMemorySaver())
    for given in (QUESTION, None, None):
        with pytest.raises(QuorumError):
            invoke(graph, given, CONFIG)
    assert len(calls) == 3


async def test_thread_is_free_after_a_cancellation(gate):
    graph = build(gate, InMemorySaver())
    run = asyncio.create_task(graph.ainvoke(QUESTION, CONFIG))
    await wait_until(gate.entered.is_set)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    gate.opened.set()
    assert (await graph.ainvoke(None, CONFIG))["messages"][-1].text == "answer"


async def test_thread_is_free_after_a_stream_that_was_left(gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    async for _ in graph.astream(QUESTION, CONFIG, stream_mode="values"):
        break
    assert (await graph.ainvoke(None, CONFIG))["messages"][-1].text == "answer"
    for _ in graph.stream({"messages": "more"}, CONFIG, stream_mode="values"):
        break
    assert graph.invoke(None, CONFIG)["messages"][-1].text == "answer"


async def test_thread_is_free_after_a_stream_in_a_cycle_was_dropped(gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())

    class Reader:
        """Who is read from, and whom that refers to."""

        def __init__(self, stream):
            self.stream, self.itself = stream, self

    gc.disable()  # until somebody asks for it
    try:
        reader = Reader(graph.astream(QUESTION, CONFIG, stream_mode="values"))
        await anext(reader.stream)
        del reader
        assert (await graph.ainvoke(None, CONFIG))["messages"][-1].text == "answer"
        reader = Reader(graph.stream({"messages": "more"}, CONFIG, stream_mode="values"))
        next(reader.stream)
        del reader
        assert graph.invoke(None, CONFIG)["messages"][-1].text == "answer"
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")
def test_thread_is_free_when_the_event_loop_of_its_run_is_closed(gate, invoke):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    loop = asyncio.new_event_loop()
    stream = graph.astream(QUESTION, CONFIG, stream_mode="values")
    loop.run_until_complete(anext(stream))
    loop.close()
    assert invoke(graph, None, CONFIG)["messages"][-1].text == "answer"
    del stream
    gc.collect()  # else a later test hears of what the loop left


FORKS = """
import os, sys
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from moa_graph import ThreadInUseError, create_moa
from moa_graph.graph import thread_claims

thread_claims.PATIENCE_S = 0.0
answer, saver = RunnableLambda(lambda _: "answer"), InMemorySaver()
graph = create_moa([[answer]], answer).compile(saver)

def ask():
    try:
        result = graph.invoke({"messages": "q"}, {"configurable": {"thread_id": "1"}})
        print(result["messages"][-1].text, flush=True)
    except ThreadInUseError:
        print("refused", flush=True)

of_parent = thread_claims.ThreadClaim(saver, "1").acquire()
child = os.fork()
if not child:
    ask()
    of_child = thread_claims.ThreadClaim(saver, "1").acquire()
    of_parent.release()
    ask()
    os._exit(0)
os.waitpid(child, 0)
ask()
"""


@pytest.mark.process
def test_run_of_a_parent_does_not_hold_the_thread_in_a_forked_process():
    """Nor does what a child has of that run let go what the child holds."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["answer", "refused", "refused"], "")


class SlowSaver(InMemorySaver):
    """One write at a time, each of which takes a while, as those to a database are."""

    def __init__(self):
        super().__init__()
        self.lock, self.counted = asyncio.Lock(), Counter()  # LangGraph's copies share them

    async def aput_writes(self, *args, **options):
        self.counted["begun"] += 1
        for _ in range(3):  # as who sets the database up first, and opens a cursor
            async with self.lock:
                for _ in range(20):
                    await asyncio.sleep(0)
        await super().aput_writes(*args, **options)
        self.counted["ended"] += 1

    async def aget_tuple(self, config):
        for _ in range(3):
            async with self.lock:
                pass
        return await super().aget_tuple(config)


async def test_nothing_is_written_after_the_end_of_a_run_that_was_stopped(gate):
    """Its database may be closed then, and its thread be run again."""
    saver = SlowSaver()
    layer = {"a": gate.model, "b": RunnableLambda(lambda _: "fine")}
    graph = create_moa([layer], RunnableLambda(lambda _: "answer")).compile(saver)
    run = asyncio.create_task(graph.ainvoke(QUESTION, CONFIG))
    await wait_until(gate.entered.is_set)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert saver.counted["begun"] == saver.counted["ended"] > 0
    errors = {each.name: each.error for each in (await graph.aget_state(CONFIG)).tasks}
    assert errors["layer_1_a"] == "CancelledError()"


async def test_thread_is_held_by_a_stream_until_it_is_closed(gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    stream = graph.astream(QUESTION, CONFIG, stream_mode="values")
    await anext(stream)
    with pytest.raises(ThreadInUseError):
        await graph.ainvoke(None, CONFIG)
    await stream.aclose()
    assert (await graph.ainvoke(None, CONFIG))["messages"][-1].text == "answer"
    sync = graph.stream({"messages": "more"}, CONFIG, stream_mode="values")
    next(sync)
    with pytest.raises(ThreadInUseError):
        graph.invoke(None, CONFIG)
    sync.close()
    assert graph.invoke(None, CONFIG)["messages"][-1].text == "answer"


async def test_error_thrown_into_a_stream_frees_the_thread(gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    stream = graph.astream(QUESTION, CONFIG, stream_mode="values")
    await anext(stream)
    with pytest.raises(KeyError):
        await stream.athrow(KeyError("x"))
    assert (await graph.ainvoke(None, CONFIG))["messages"][-1].text == "answer"


async def test_stream_that_was_never_read_holds_nothing(gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    unread, unread_sync = graph.astream(QUESTION, CONFIG), graph.stream(QUESTION, CONFIG)
    assert (await graph.ainvoke(QUESTION, CONFIG))["messages"][-1].text == "answer"
    await unread.aclose()
    unread_sync.close()


async def test_run_that_is_ending_is_waited_for(gate, monkeypatch):
    monkeypatch.setattr(thread_claims, "PATIENCE_S", PATIENCE)
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    async for _ in graph.astream_events(QUESTION, CONFIG, version="v2"):
        break
    assert (await graph.ainvoke(None, CONFIG))["messages"][-1].text == "answer"


def test_thread_is_free_after_an_interrupt(invoke, gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver(), interrupt_before=["aggregator"])
    invoke(graph, QUESTION, CONFIG)
    past = [each for each in graph.get_state_history(CONFIG) if each.next == ("layer_1_a",)]
    assert invoke(graph, None, past[0].config)  # a fork
    assert invoke(graph, None, CONFIG)["messages"][-1].text == "answer"


def test_batch_of_one_thread_loses_nothing_in_silence():
    """LangGraph runs the inputs of a batch at the same time."""
    gate = Gate()
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    results = graph.batch([QUESTION] * 4, CONFIG, return_exceptions=True)
    kept = [each for each in results if isinstance(each, dict)]
    refused = [each for each in results if isinstance(each, ThreadInUseError)]
    assert len(kept) + len(refused) == 4
    assert len(graph.get_state(CONFIG).values["messages"]) == 2 * len(kept)
    for _ in range(2):
        graph.invoke(QUESTION, CONFIG)


@pytest.fixture(params=["inherited", "own", "none"])
def nested(request, gate):
    """A mixture inside a host, with each kind of checkpointer."""
    savers = {"inherited": None, "own": True, "none": False}
    gate.opened.set()
    return build(gate, savers[request.param])


def host(node, **options):
    builder = StateGraph(MessagesState)
    builder.add_node("moa", node, **options)
    builder.add_edge(START, "moa")
    return builder.compile(InMemorySaver())


def test_nested_mixtures_share_the_thread_of_their_host(invoke, nested):
    graph = host(nested)
    for _ in range(2):
        assert invoke(graph, QUESTION, CONFIG)["messages"][-1].text == "answer"


async def test_calls_of_one_node_at_once_share_the_thread(gate):
    gate.opened.set()
    nested = build(gate, None)

    async def node(state):
        given = {"messages": state["messages"]}
        both = await asyncio.gather(nested.ainvoke(given), nested.ainvoke(given))
        return {"messages": [each["messages"][-1].text for each in both]}

    assert len((await host(node).ainvoke(QUESTION, CONFIG))["messages"]) == 3


def test_fan_out_of_a_host_shares_the_thread(invoke, gate):
    gate.opened.set()
    builder = StateGraph(MessagesState)
    builder.add_node("moa", build(gate, None))
    builder.add_conditional_edges(
        START, lambda _: [Send("moa", {"messages": [HumanMessage(each)]}) for each in "ab"]
    )
    graph = builder.compile(InMemorySaver())
    messages = invoke(graph, QUESTION, CONFIG)["messages"]
    assert [each.text for each in messages].count("answer") == 2


def test_node_that_is_retried_is_not_refused(invoke):
    calls = []

    def answer(_):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no")
        return "fine"

    nested = create_moa([[RunnableLambda(answer)]], RunnableLambda(lambda _: "answer")).compile()
    policy = RetryPolicy(initial_interval=0.0, retry_on=Exception)
    result = invoke(host(nested, retry_policy=policy), QUESTION, CONFIG)
    assert result["messages"][-1].text == "answer"


def test_thread_is_free_after_an_interrupt_inside(invoke):
    def ask(_):
        return interrupt("well?")

    graph = create_moa([[RunnableLambda(ask)]], RunnableLambda(lambda _: "x")).compile(
        InMemorySaver()
    )
    for _ in range(2):
        assert invoke(graph, QUESTION, CONFIG)["__interrupt__"]


def test_checkpoint_from_the_future_is_refused_before_anything_is_asked(monkeypatch, invoke, gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    invoke(graph, QUESTION, CONFIG)
    gate.entered.clear()
    turn_clock(monkeypatch, -DAY)
    for given in ({"messages": "more"}, None):
        with pytest.raises(ClockError, match="thread_id='1': its newest checkpoint is 86,"):
            invoke(graph, given, CONFIG)
    assert not gate.entered.is_set()
    assert len(graph.get_state(CONFIG).values["messages"]) == 2
    assert invoke(graph, QUESTION, {"configurable": {"thread_id": "2"}})
    turn_clock(monkeypatch, 0)
    assert len(invoke(graph, {"messages": "more"}, CONFIG)["messages"]) == 4


def test_small_difference_of_clocks_is_waited_for(monkeypatch, invoke, gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    invoke(graph, QUESTION, CONFIG)
    turn_clock(monkeypatch, -0.3)
    assert len(invoke(graph, {"messages": "more"}, CONFIG)["messages"]) == 4


def test_checkpoint_from_the_future_in_a_file_is_refused(monkeypatch, gate, tmp_path):
    gate.opened.set()
    path = tmp_path / "host.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        build(gate, SqliteSaver(connection)).invoke(QUESTION, CONFIG)
    turn_clock(monkeypatch, -DAY)
    with (
        closing(sqlite3.connect(path, check_same_thread=False)) as connection,
        pytest.raises(ClockError),
    ):
        build(gate, SqliteSaver(connection)).invoke(None, CONFIG)


@pytest.mark.parametrize(
    "url",
    [
        "http://h/v1?api-key=12345678",
        "http://h/v1#access_token=12345678",
        "http://h/v1;api-key=12345678",
        "http://h/v1?api%2Dkey=12345678",
        "http://me:12345678@h/v1",
        "http://me:pw/12345678@h/v1",
        "http://me:pw12345678?@h/v1",
        "http://me:pw12345678#@h/v1",
        "http://me:12345678\\@h/v1",
        "http://12345678@h",
        "http://h/v1 http://me:12345678@h/v1",
    ],
)
def test_key_in_an_address_of_a_callers_config_is_not_stored(url, invoke, gate):
    gate.opened.set()
    graph = build(gate, InMemorySaver())
    config = {"configurable": {"thread_id": "1", "base_url": url}}
    with pytest.raises(ValueError, match="`configurable` 'base_url'") as told:
        invoke(graph, QUESTION, config)
    assert "12345678" not in str(told.value)
    assert not list(graph.get_state_history(CONFIG))
    config["configurable"]["base_url"] = "http://h/v1?api-version=1"
    assert invoke(graph, QUESTION, config)


@pytest.mark.parametrize(
    "url",
    [
        "http://h?user=a@b.example",
        "http://h#a@b.example",
        "http://h/users/a@b.example",
        "http://h:8000/users/a@b.example?to=c@d.example",
        "http://[::1]:8000/users/a@b.example",
    ],
)
def test_address_of_a_callers_config_may_have_an_at_sign_behind_its_host(url, invoke, gate):
    gate.opened.set()
    config = {"configurable": {"thread_id": "1", "base_url": url}}
    assert invoke(build(gate, InMemorySaver()), QUESTION, config)
