"""Runs that are interrupted at any step of their event loop leave nothing behind and go on."""

import asyncio
from contextlib import aclosing

import httpx
import pytest
from fakes import FakeModel
from interrupting import finish_interrupted, run_and_listen
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from serving import memory_store

from moa_graph import ChatMoA, MoAConfig, MoAMiddleware, create_moa
from moa_graph.runs.store import open_run_store
from moa_graph.server.app import create_app
from moa_graph.server.service import MixtureService

CONFIG = {"configurable": {"thread_id": "1"}}
QUESTION = {"messages": [("human", "why?")]}
OFFLINE = MoAConfig(
    name="mine", layers=[["offline:lead", "offline:bm25"]], aggregator="offline:lead"
)


class RememberingSaver(InMemorySaver):
    """Remembers the nodes whose proposals it has stored."""

    def __init__(self):
        super().__init__()
        self.stored = []  # LangGraph's copies share it

    async def aput_writes(self, config, writes, task_id, task_path=""):
        await super().aput_writes(config, writes, task_id, task_path)
        for channel, value in writes:
            self.stored += value if channel == "proposals" else []


async def resume(graph):
    """Ask, or go on with what has been stored of the question."""
    state = await graph.aget_state(CONFIG)
    is_stored = state.next or state.values
    return await graph.ainvoke(None if is_stored else QUESTION, CONFIG, durability="sync")


async def interrupt_graph(steps, _):
    models = {name: FakeModel() for name in "abcd"}
    layers = [{name: models[name] for name in row} for row in ("ab", "cd")]
    saver = RememberingSaver()
    graph = create_moa(layers, FakeModel()).compile(saver)
    await finish_interrupted(graph.ainvoke(QUESTION, CONFIG, durability="sync"), steps)
    stored = {node[-1] for node in saver.stored}
    calls = {name: len(models[name].asked) for name in stored}
    assert (await resume(graph))["messages"][-1].text.strip() == "an answer"
    assert {name: len(models[name].asked) for name in stored} == calls


async def interrupt_stream_to_a_file(steps, folder):
    async with open_run_store(str(folder / f"{steps}.sqlite")) as store:
        graph = create_moa([[FakeModel()] * 2], FakeModel()).compile(store.checkpointer)

        async def read():
            stream = graph.astream(QUESTION, CONFIG, stream_mode="messages", durability="sync")
            async with aclosing(stream) as parts:
                async for _ in parts:
                    pass

        await finish_interrupted(read(), steps)
        assert (await resume(graph))["messages"][-1].text.strip() == "an answer"


async def interrupt_chat_model(steps, _):
    chat = ChatMoA(layers=[[FakeModel()] * 2], aggregator=FakeModel())

    async def read():
        async for _ in chat.astream("why?"):
            pass

    await finish_interrupted(read(), steps)
    assert (await chat.ainvoke("why?")).text == "an answer"


async def interrupt_agent(steps, _):
    middleware = MoAMiddleware([[FakeModel()] * 2])
    agent = create_agent(FakeModel(), middleware=[middleware], checkpointer=InMemorySaver())
    await finish_interrupted(agent.ainvoke(QUESTION, CONFIG, durability="sync"), steps)
    assert (await resume(agent))["messages"][-1].text == "an answer"


async def interrupt_page(steps, _):
    service = MixtureService({"mine": OFFLINE}, store=memory_store())
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        thread = {}

        async def post(path, **body):
            thread.update((await client.post(f"/api/{path}", json=body)).json())
            while service.runs:
                await asyncio.wait(service.runs)

        def stop():
            for run in service.runs:
                run.cancel()

        async def show():
            return (await client.get("/api/thread", params={"id": thread["thread"]})).json()

        await finish_interrupted(post("ask", question="why?"), steps, stop)
        if not (await show())["finished"]:
            await post("resume", **thread)
        assert (await show())["finished"]


@pytest.mark.parametrize(
    ("run", "last"),
    [
        (interrupt_graph, 160),
        (interrupt_stream_to_a_file, 230),
        (interrupt_chat_model, 130),
        (interrupt_agent, 140),
        (interrupt_page, 130),
    ],
)
def test_interrupted_run_leaves_nothing_behind_and_goes_on(run, last, tmp_path):
    for steps in range(0, last, last // 36):
        assert run_and_listen(run(steps, tmp_path)) == [], f"after {steps} steps"
