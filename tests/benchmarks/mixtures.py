"""The mixtures that are compared: ours, a hand-written gather, a naive graph, the authors' own."""

import asyncio
import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict

import aiohttp
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from openai import AsyncOpenAI

from moa_graph import Agent, create_moa
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE

Run = Callable[[str], Awaitable[Any]]

PROPOSERS = [f"m{number}" for number in range(6)]
AGGREGATOR = "aggregator"
OPTIONS: dict[str, Any] = {"temperature": 0.7, "max_tokens": 2048}
WARM = "What is a mixture of agents?"


def named(url: str, layers: int, **options: Any) -> Any:
    """Build our graph, of models given by name."""
    agents = {
        name: Agent(model=f"openai:{name}", base_url=url, timeout=600, **OPTIONS)
        for name in (*PROPOSERS, AGGREGATOR)
    }
    row = {name: agents[name] for name in PROPOSERS}
    return create_moa([row] * layers, agents[AGGREGATOR]).compile(**options)


def objects(url: str, layers: int, **options: Any) -> Any:
    """Build our graph, of `ChatOpenAI` objects."""
    row = {name: _chat(url, name) for name in PROPOSERS}
    return create_moa([row] * layers, _chat(url, AGGREGATOR)).compile(**options)


def raw(url: str, layers: int, session: aiohttp.ClientSession) -> Any:
    """Build our graph over aiohttp alone: the floor."""

    def model(name: str) -> Any:
        async def ask(messages: Sequence[Any]) -> AIMessage:
            said = [{"role": "user", "content": message.text} for message in messages]
            body = {"model": name, "messages": said, **OPTIONS}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                answer = await response.json()
            return AIMessage(answer["choices"][0]["message"]["content"])

        return RunnableLambda(ask)

    row = {name: model(name) for name in PROPOSERS}
    return create_moa([row] * layers, model(AGGREGATOR)).compile()


def asking(graph: Any) -> Run:
    """Ask a graph; each question is a thread of its own where it has a checkpointer."""
    threads = iter(range(1_000_000_000))

    async def run(question: str) -> Any:
        config = {"configurable": {"thread_id": f"{next(threads)}"}} if graph.checkpointer else None
        return await graph.ainvoke({"messages": question}, config)

    return run


def gathering(client: AsyncOpenAI, layers: int) -> Run:
    """Write the mixture by hand: a gather for each layer, one client for all."""

    async def run(question: str) -> str:
        references: list[str] = []
        for _ in range(layers):
            calls = (ask(client, name, question, references) for name in PROPOSERS)
            references = await asyncio.gather(*calls)
        return await ask(client, AGGREGATOR, question, references)

    return run


def scheduled_by_the_authors(client: AsyncOpenAI, layers: int) -> Run:
    """Ask as the authors' evaluation code does: the references of a layer one after another."""

    async def run(question: str) -> str:
        references: list[str] = []
        for _ in range(layers):
            before, references = references, []
            for name in PROPOSERS:
                references.append(await ask(client, name, question, before))
        return await ask(client, AGGREGATOR, question, references)

    return run


def naive(url: str, layers: int) -> Any:
    """Build the graph that a tutorial would: a list with a reducer, a node that joins a layer."""

    class State(TypedDict):
        question: str
        answers: Annotated[list[str], operator.add]
        references: list[str]
        final: str

    def agent(name: str, key: str) -> Any:
        model = _chat(url, name)

        async def node(state: Mapping[str, Any]) -> dict[str, Any]:
            read = messages_for(state["question"], state.get("references", []))
            answer = await model.ainvoke(read)
            return {key: [answer.content] if key == "answers" else answer.content}

        return node

    builder = StateGraph(State)
    before = START
    for layer in range(layers):
        names = [f"layer_{layer}_{name}" for name in PROPOSERS]
        for name, model in zip(names, PROPOSERS, strict=True):
            builder.add_node(name, agent(model, "answers"))
            builder.add_edge(before, name)
        builder.add_node(f"join_{layer}", lambda state: {"references": state["answers"][-6:]})
        builder.add_edge(names, f"join_{layer}")
        before = f"join_{layer}"
    builder.add_node(AGGREGATOR, agent(AGGREGATOR, "final"))
    builder.add_edge(before, AGGREGATOR)
    builder.add_edge(AGGREGATOR, END)
    graph = builder.compile()

    async def run(question: str) -> Any:
        return await graph.ainvoke({"question": question})

    return run


def _chat(url: str, name: str) -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=url, api_key="none", timeout=600, **OPTIONS)


def messages_for(question: str, references: Sequence[str]) -> list[dict[str, str]]:
    asked = {"role": "user", "content": question}
    if not references:
        return [asked]
    numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(references, 1))
    return [{"role": "system", "content": f"{AGGREGATE_AND_SYNTHESIZE}\n\n{numbered}"}, asked]


async def ask(client: AsyncOpenAI, name: str, question: str, references: Sequence[str]) -> str:
    messages: Any = messages_for(question, references)
    answer = await client.chat.completions.create(model=name, messages=messages, **OPTIONS)
    return answer.choices[0].message.content or ""
