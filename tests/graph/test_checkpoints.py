"""Checkpoints: what every saver holds of a run, how much, and what older ones are good for."""

import asyncio
import gzip
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.channels import BinaryOperatorAggregate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from moa_graph import RETRY, create_moa
from moa_graph.graph.state import SNAPSHOT_FREQUENCY, merge_proposals
from moa_graph.runs.stored_threads import read_thread, read_threads

CONFIG = {"configurable": {"thread_id": "1"}}
FIRST = {"layer_1_a", "layer_1_b"}
OLD = Path(__file__).parents[1] / "data" / "threads_before_deltas.sqlite.gz"
"""Written by commit a9b83a0, which stored all proposals, and the text made of them, each time."""


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def kind(request):
    return request.param


@pytest.fixture
def open_saver(kind, tmp_path, request):
    where = (
        request.getfixturevalue("postgres") if kind == "postgres" else str(tmp_path / "x.sqlite")
    )
    kept = InMemorySaver()

    @asynccontextmanager
    async def opened():
        """Open the saver as another process would: nothing is taken along but what is stored."""
        if kind == "memory":
            yield kept
            return
        saver_type = AsyncPostgresSaver if kind == "postgres" else AsyncSqliteSaver
        async with saver_type.from_conn_string(where) as saver:
            yield saver

    return opened


@pytest.fixture
def models(model):
    names = ("a1", "b1", "a2", "b2", "w")
    return {name: model(name=name, answers=[f"{name}.{n}" for n in range(1, 99)]) for name in names}


def build(models, **others):
    now = models | others
    return create_moa(
        [{"a": now["a1"], "b": now["b1"]}, {"a": now["a2"], "b": now["b2"]}], now["w"]
    )


def counts(models):
    return {name: len(model.asked) for name, model in models.items()}


def texts(values):
    return {node: p["content"] for node, p in values.get("proposals", {}).items()}


async def stored(graph):
    """Name what the saver has of the layer that is running."""
    tasks = (await graph.aget_state(CONFIG)).tasks
    return {node for task in tasks for node in (task.result or {}).get("proposals", {})}


async def before(graph, node):
    return await anext(s async for s in graph.aget_state_history(CONFIG) if node in s.next)


async def test_every_checkpoint_shows_what_stood_in_it(open_saver, models):
    async with open_saver() as saver:
        await build(models).compile(checkpointer=saver).ainvoke({"messages": "q"}, CONFIG)
    async with open_saver() as saver:
        graph = build(models).compile(checkpointer=saver)
        seen = [(s.next, set(texts(s.values))) async for s in graph.aget_state_history(CONFIG)]
    every = FIRST | {"layer_2_a", "layer_2_b"}
    assert [(set(following), stood) for following, stood in reversed(seen)] == [
        ({"__start__"}, set()),
        (FIRST, set()),
        ({"layer_1_aggregator"}, FIRST),
        (every - FIRST, FIRST),
        ({"layer_2_aggregator"}, every),
        ({"aggregator"}, every),
        (set(), every),
    ]


async def test_fork_reads_the_edit_and_the_original_stays(open_saver, models):
    async with open_saver() as saver:
        graph = build(models).compile(checkpointer=saver)
        first = await graph.ainvoke({"messages": "q"}, CONFIG)
        end = (await graph.aget_state(CONFIG)).config
        place = (await before(graph, "layer_1_aggregator")).config
        edit = {"proposals": {"layer_1_a": {"content": "edited"}, "layer_1_b": None}}
        fork = await graph.aupdate_state(place, edit, as_node="layer_1_a")
        await graph.ainvoke(None, fork)
    async with open_saver() as saver:
        graph = build(models).compile(checkpointer=saver)
        forked, original = await graph.aget_state(CONFIG), await graph.aget_state(end)
    assert models["a2"].asked[1][0].content.endswith("models:\n1. edited")
    assert texts(forked.values) == {
        "layer_1_a": "edited",
        "layer_2_a": "a2.2",
        "layer_2_b": "b2.2",
    }
    assert texts(original.values) == texts(first)


async def test_proposal_is_asked_for_again_after_the_fan_out(open_saver, models):
    async with open_saver() as saver:
        graph = build(models).compile(saver, interrupt_before=["layer_1_aggregator"])
        await graph.ainvoke({"messages": "q"}, CONFIG)
        again = {"proposals": {"layer_1_b": {"error": RETRY}}}
        await graph.aupdate_state(CONFIG, again, as_node="layer_1_b")
    async with open_saver() as saver:
        result = await build(models).compile(saver).ainvoke(None, CONFIG)
    assert counts(models) == {"a1": 1, "b1": 2, "a2": 1, "b2": 1, "w": 1}
    assert texts(result)["layer_1_b"] == "b1.2"


async def test_mixture_in_a_host_stops_and_goes_on(open_saver, models):
    def host():
        builder = StateGraph(MessagesState)
        stop = ["layer_2_aggregator"]
        builder.add_node("moa", build(models).compile(interrupt_before=stop))
        builder.add_edge(START, "moa")
        return builder

    async with open_saver() as saver:
        await host().compile(saver).ainvoke({"messages": "q"}, CONFIG)
    async with open_saver() as saver:
        graph = host().compile(saver)
        inner = (await graph.aget_state(CONFIG, subgraphs=True)).tasks[0].state
        result = await graph.ainvoke(None, CONFIG)
    assert set(texts(inner.values)) == FIRST | {"layer_2_a", "layer_2_b"}
    assert result["messages"][-1].content == "w.1"
    assert counts(models) == dict.fromkeys(models, 1)


@pytest.mark.parametrize("durability", ["async", "sync"])
async def test_stopped_layer_goes_on_with_what_was_stored(open_saver, models, durability):
    async def hang(_):
        await asyncio.Event().wait()

    async with open_saver() as saver:
        graph = build(models, b2=RunnableLambda(str, hang)).compile(saver)
        run = asyncio.create_task(graph.ainvoke({"messages": "q"}, CONFIG, durability=durability))
        while "layer_2_a" not in await stored(graph):
            await asyncio.sleep(0)
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
    async with open_saver() as saver:
        result = await build(models).compile(saver).ainvoke(None, CONFIG)
    assert counts(models) == dict.fromkeys(models, 1)
    assert models["b2"].asked[0][0].content.endswith("\n1. a1.1\n2. b1.1")
    assert set(texts(result)) == FIRST | {"layer_2_a", "layer_2_b"}


async def test_a_run_that_is_stored_at_its_end_is_stored_whole(open_saver, models):
    async with open_saver() as saver:
        graph = build(models).compile(saver)
        first = await graph.ainvoke({"messages": "q"}, CONFIG, durability="exit")
    async with open_saver() as saver:
        graph = build(models).compile(saver)
        assert texts((await graph.aget_state(CONFIG)).values) == texts(first)
        second = await graph.ainvoke({"messages": "and?"}, CONFIG, durability="exit")
    assert texts(second)["layer_1_a"] == "a1.2"


async def test_a_long_conversation_shows_the_proposals_of_each_turn(open_saver, model):
    turns = SNAPSHOT_FREQUENCY + 3
    proposer = model(answers=[f"{n}" for n in range(1, turns + 1)])
    async with open_saver() as saver:
        graph = create_moa([{"a": proposer}], model()).compile(saver)
        for turn in range(1, turns + 1):
            await graph.ainvoke({"messages": f"question {turn}"}, CONFIG)
    async with open_saver() as saver:
        graph = create_moa([{"a": proposer}], model()).compile(saver)
        ends = [s async for s in graph.aget_state_history(CONFIG) if not s.next]
    assert [texts(s.values) for s in ends[::-1]] == [
        {"layer_1_a": f"{n}"} for n in range(1, turns + 1)
    ]


async def test_threads_tell_who_failed_in_a_layer_that_is_over(open_saver, models, model):
    down = model(answers=[OSError("down")])
    async with open_saver() as saver:
        graph = build(models, b1=down).compile(saver, interrupt_before=["layer_2_a"])
        await graph.ainvoke({"messages": "q"}, CONFIG)
    async with open_saver() as saver:
        (thread,) = await read_threads(saver)
        assert thread.failed_nodes == ["layer_1_b"]
        await build(models, b1=down).compile(saver).ainvoke(None, CONFIG)
        assert (await read_thread(saver, "1")).failed_nodes == ["layer_1_b"]


@pytest.mark.parametrize("stop", ["layer_1_aggregator", "layer_2_a", "aggregator"])
async def test_thread_of_an_older_version_goes_on(open_saver, models, stop):
    async with open_saver() as saver:
        older = build(models).compile(saver, interrupt_before=[stop])
        older.channels["proposals"] = whole = BinaryOperatorAggregate(dict, merge_proposals)
        whole.key = "proposals"
        await older.ainvoke({"messages": "q"}, CONFIG)
    async with open_saver() as saver:
        graph = build(models).compile(saver)
        assert set(texts((await graph.aget_state(CONFIG)).values)) >= FIRST
        result = await graph.ainvoke(None, CONFIG)
    assert counts(models) == dict.fromkeys(models, 1)
    assert models["w"].asked[0][0].content.endswith("\n1. a2.1\n2. b2.1")
    assert set(texts(result)) == FIRST | {"layer_2_a", "layer_2_b"}


@pytest.mark.parametrize("stop", ["layer_2_a", "aggregator"])
async def test_saver_that_kept_the_last_checkpoint_only_is_found_out(tmp_path, models, stop):
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "x.sqlite")) as saver:
        stopped = build(models).compile(saver, interrupt_before=[stop])
        await stopped.ainvoke({"messages": "q"}, CONFIG)
        await saver.conn.execute("DELETE FROM writes")
        with pytest.raises(LookupError, match="the proposals that it reads are missing"):
            await build(models).compile(saver).ainvoke(None, CONFIG)
    assert not models["w"].asked


@pytest.fixture
async def old_saver(tmp_path):
    path = tmp_path / "old.sqlite"
    path.write_bytes(gzip.decompress(OLD.read_bytes()))
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        yield saver


async def test_old_threads_are_listed_as_they_were(old_saver):
    assert {thread.id: thread.status_text for thread in await read_threads(old_saver)} == {
        "answered": "quoted",
        "two turns": "quoted",
        "before layer_2_aggregator": "unfinished",
        "before layer_2_a": "unfinished",
        "in layer_2_b": "interrupted",
        "in aggregator": "unfinished",
    }


@pytest.mark.parametrize(
    ("thread", "asked"),
    [
        ("before layer_2_aggregator", {"w"}),
        ("before layer_2_a", {"a2", "b2", "w"}),
        ("in layer_2_b", {"b2", "w"}),
        ("in aggregator", {"w"}),
    ],
)
async def test_old_threads_go_on(old_saver, models, thread, asked):
    graph = build(models).compile(old_saver)
    result = await graph.ainvoke(None, {"configurable": {"thread_id": thread}})
    assert {name for name, count in counts(models).items() if count} == asked
    assert result["messages"][-1].content == "w.1"
    assert texts(result)["layer_1_a"] == "a1 answers"


async def test_old_conversation_takes_a_further_question_and_keeps_its_history(old_saver, models):
    config = {"configurable": {"thread_id": "two turns"}}
    graph = build(models).compile(old_saver)
    await graph.ainvoke({"messages": "and now?"}, config)
    ends = [s async for s in graph.aget_state_history(config) if not s.next]
    assert [texts(end.values)["layer_1_a"] for end in ends] == ["a1.1", "a1 answers", "a1 answers"]


@pytest.mark.parametrize("layers", [1, 3, 10])
async def test_what_is_written_grows_with_the_layers_not_with_their_square(tmp_path, layers):
    text = "word " * 2400
    path = tmp_path / "x.sqlite"
    models = [RunnableLambda(str, _answering(f"{text}{n}")) for n in range(6)]
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_moa([models] * layers, models[0]).compile(saver)
        await graph.ainvoke({"messages": "q"}, CONFIG)
    assert path.stat().st_size < 2.4 * layers * 6 * len(text)


def _answering(text):
    async def answer(_):
        return AIMessage(text)

    return answer
