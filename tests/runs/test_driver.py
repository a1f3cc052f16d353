"""A turn that is run on a thread: what is read, what comes of it, and what of a failure."""

import sqlite3

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from moa_graph import create_moa
from moa_graph.runs.driver import TurnRun
from moa_graph.runs.live import RunProgress

CONFIG = {"configurable": {"thread_id": "1"}}


class CountingSaver(InMemorySaver):
    """Counts how often a thread is read; LangGraph's copies of it count together."""

    def __init__(self):
        super().__init__()
        self.reads = []

    async def aget_tuple(self, config):
        self.reads.append(config)
        return await super().aget_tuple(config)


def mixture(model, *, first="first", second="second", final="final"):
    answers = {"a": [first], "b": [second], "w": final if isinstance(final, list) else [final]}
    a, b, w = (model(name=name, answers=answers[name]) for name in answers)
    return create_moa([{"a": a}, {"b": b}], w, quorum=1)


def ask_or_resume(turn):
    return turn.ask("q") if turn.status == "none" else turn.resume_input


async def test_a_resumed_run_reads_the_thread_once(model):
    saver = CountingSaver()
    graph = mixture(model).compile(saver, interrupt_before=["layer_2_b"])
    await graph.ainvoke({"messages": "q"}, CONFIG)
    saver.reads.clear()
    run = await TurnRun.prepare(graph, CONFIG, ask_or_resume)
    progress = RunProgress.from_graph(graph, {})
    run.load_stored(progress)
    assert len(saver.reads) == 1
    assert progress.agents["layer_1_a"].text == "first"


async def test_a_turn_that_is_run_to_its_end_gives_its_state(model):
    graph = mixture(model).compile(InMemorySaver())
    result = await (await TurnRun.prepare(graph, CONFIG, ask_or_resume)).run_to_end()
    assert (result.error, result.values["messages"][-1].text) == (None, "final")


async def test_an_answered_turn_is_not_run_again(model):
    graph = mixture(model, final=["final", "another"]).compile(InMemorySaver())
    for _ in range(2):
        result = await (await TurnRun.prepare(graph, CONFIG, ask_or_resume)).run_to_end()
    assert (result.error, result.values["messages"][-1].text) == (None, "final")


@pytest.mark.parametrize("saver", [None, InMemorySaver()])
async def test_a_failed_turn_gives_its_error_and_what_was_answered(model, saver):
    graph = mixture(model, second=OSError("no route")).compile(saver)
    run = TurnRun(graph, CONFIG if saver else {}, {"messages": "q"})
    result = await run.run_to_end()
    assert "no route" in str(result.error)
    assert result.values["proposals"]["layer_1_a"]["content"] == "first"


async def test_a_database_that_fails_ends_more_than_the_turn(model, tmp_path):
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "x.sqlite")) as saver:
        graph = mixture(model).compile(saver)
        run = await TurnRun.prepare(graph, CONFIG, ask_or_resume)
        await saver.conn.execute("DROP TABLE writes")
        with pytest.raises(sqlite3.Error, match="writes"):
            await run.run_to_end()
