"""What it costs to stream a run: calls, the first token of the answer, CPU, the pace of tokens."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any

from langchain_core.messages import AIMessageChunk
from measuring import cpu, interleave, options, paired, report, run, wall
from mixtures import ask, messages_for
from openai import AsyncOpenAI
from server import Server, serving

from moa_graph import Agent, create_moa

WIDTH, LAYERS, LATENCY, WORDS = 6, 3, 0.3, 500
QUICK_LATENCY = 0.03
RATES = {100: 200, 500: 1000, 2000: 4000}
"""Tokens a second, and how many come at that pace."""

Run = Callable[[], Awaitable[Any]]


def mixture(url: str, names: list[str], layers: int, writer: str, **more: Any) -> Any:
    """Build a mixture of OpenAI models that the server plays."""
    row = {name: Agent(model=f"openai:{name}", base_url=url) for name in names}
    return create_moa(
        [row] * layers, Agent(model=f"openai:{writer}", base_url=url), **more
    ).compile()


async def first_token(events: AsyncIterator[Any]) -> float:
    """Read a stream to its end, and give the seconds to the first token of the answer."""
    begun, first = time.perf_counter(), 0.0
    async for message, metadata in events:
        of_answer = metadata["langgraph_node"] == "aggregator"
        if not first and of_answer and isinstance(message, AIMessageChunk) and message.text:
            first = time.perf_counter() - begun
    return first


async def first_by_hand(client: AsyncOpenAI, names: list[str], layers: int) -> float:
    """Gather each layer, stream the answer, and give the seconds to its first token."""
    begun, first = time.perf_counter(), 0.0
    references: list[str] = []
    for _ in range(layers):
        calls = (ask(client, name, "q", references) for name in names)
        references = await asyncio.gather(*calls)
    read: Any = messages_for("q", references)
    async for chunk in await client.chat.completions.create(
        model="writer", messages=read, stream=True
    ):
        if not first and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter() - begun
    return first


async def whole_runs(
    server: Server, client: AsyncOpenAI, rounds: int, layers: int, latency: float
) -> list[dict[str, Any]]:
    """Compare a run that is not streamed with the two ways to stream it, and with a gather."""
    names = [f"m{number}" for number in range(WIDTH)]
    hidden = mixture(server.url, names, layers, "writer")
    shown = mixture(server.url, names, layers, "writer", stream_proposals=True)
    question = {"messages": "q"}
    streamed, firsts = dict[str, int](), dict[str, list[float]]()

    def streaming(name: str, graph: Any) -> Run:
        return timed(name, lambda: first_token(graph.astream(question, stream_mode="messages")))

    def timed(name: str, call: Callable[[], Awaitable[float]]) -> Run:
        async def read() -> None:
            firsts.setdefault(name, []).append(await call())

        return counted(name, read)

    def counted(name: str, call: Run) -> Run:
        async def measured() -> None:
            await call()
            streamed[name] = server.take_counts()["streamed"]

        return measured

    server.take_counts()
    variants = {
        "ainvoke": counted("ainvoke", lambda: hidden.ainvoke(question)),
        "proposers hidden (default)": streaming("proposers hidden (default)", hidden),
        "all streamed": streaming("all streamed", shown),
        "by hand": timed("by hand", lambda: first_by_hand(client, names, layers)),
    }
    samples = await interleave(variants, rounds)
    critical = latency * (layers + 1)
    base = [each.cpu for each in samples["ainvoke"]]
    return [
        {
            "run": name,
            "streamed calls": streamed[name],
            "first token after critical path, ms": _late(firsts.get(name), critical),
            "wall / critical path": wall(taken) / critical,
            "CPU / ainvoke": paired([each.cpu for each in taken], base),
        }
        for name, taken in samples.items()
    ]


def _late(firsts: list[float] | None, critical: float) -> float | None:
    """Give the milliseconds by which the median is late; the first one is a warm-up."""
    return firsts and (median(firsts[1:]) - critical) * 1000


async def paces(
    server: Server, client: AsyncOpenAI, rounds: int, rates: dict[int, int]
) -> list[dict[str, Any]]:
    """Compare the pace of a streamed mixture with the same two calls made by hand."""
    return [await _pace(server.url, client, rounds, *each) for each in rates.items()]


async def _pace(
    url: str, client: AsyncOpenAI, rounds: int, rate: int, words: int
) -> dict[str, Any]:
    graph = mixture(url, ["short"], 1, f"at-{rate}")
    stream = partial(graph.astream, {"messages": "q"}, stream_mode="messages")
    variants = {
        "by hand": lambda: _by_hand(client, f"at-{rate}"),
        "mixture": lambda: first_token(stream()),
    }
    samples = await interleave(variants, rounds)
    by_hand, mixed = samples["by hand"], samples["mixture"]
    walls = paired([each.wall for each in mixed], [each.wall for each in by_hand])
    return {
        "tokens a second": rate,
        "tokens": words,
        "wall / raw client": f"{walls:.4f}",
        "CPU of a token, ms": cpu(mixed) / words * 1000,
        "of the raw client's": cpu(by_hand) / words * 1000,
    }


async def _by_hand(client: AsyncOpenAI, model: str) -> None:
    asked: Any = [{"role": "user", "content": "q"}]
    await client.chat.completions.create(model="short", messages=asked)
    async for _ in await client.chat.completions.create(model=model, messages=asked, stream=True):
        pass


async def main() -> None:
    """Run both, and report."""
    chosen = options(__doc__)
    rounds, layers = (1, 1) if chosen.quick else (5, LAYERS)
    rates = {2000: 100} if chosen.quick else RATES
    models: dict[str, Any] = {
        f"at-{rate}": {"words": words, "rate": rate} for rate, words in rates.items()
    }
    words, latency = (20, QUICK_LATENCY) if chosen.quick else (WORDS, LATENCY)
    models |= {"short": {"words": 1}, "*": {"latency": latency, "words": words}}
    with serving(models) as server:
        async with AsyncOpenAI(base_url=server.url, api_key="none") as client:
            runs = await whole_runs(server, client, rounds, layers, latency)
            pace = await paces(server, client, rounds, rates)
    beside = chosen.json and chosen.json.with_stem(f"{chosen.json.stem}-pace")
    report(f"Streaming a run of {layers} x {WIDTH} proposers", runs, chosen.json)
    report("The pace of the answer", pace, beside)


if __name__ == "__main__":
    run(main())
