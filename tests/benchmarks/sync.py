"""What sync calls cost beside async ones: a thread waits for each proposer of a layer."""

import asyncio
import os
from typing import Any

from measuring import interleave, options, report, run, wall
from server import serving

from moa_graph import Agent, create_moa

LAYERS, FASTEST, SLOWEST, WRITER = 2, 0.2, 1.0, 0.5  # seconds
QUICK = 0.1  # how long a second of a quick run is
DEFAULT = min(32, (os.cpu_count() or 1) + 4)
"""How many threads LangGraph starts unless told."""


def latencies(width: int, second: float = 1.0) -> dict[str, float]:
    """Spread the latencies of a layer between the fastest and the slowest."""
    step = (SLOWEST - FASTEST) / (width - 1)
    return {f"w{width}-{number}": (FASTEST + number * step) * second for number in range(width)}


def mixture(url: str, width: int) -> Any:
    """Build a mixture of OpenAI models that the server plays."""
    row = {name: Agent(model=f"openai:{name}", base_url=url) for name in latencies(width)}
    return create_moa([row] * LAYERS, Agent(model="openai:writer", base_url=url)).compile()


async def measure(url: str, width: int, rounds: int, critical: float) -> dict[str, Any]:
    """Run a mixture sync, async, and with as many threads as LangGraph starts by itself."""
    graph, question = mixture(url, width), {"messages": "q"}
    few = {"max_concurrency": DEFAULT}
    variants = {
        "invoke": lambda: asyncio.to_thread(graph.invoke, question),
        "ainvoke": lambda: graph.ainvoke(question),
        f"invoke, {DEFAULT} threads": lambda: asyncio.to_thread(graph.invoke, question, few),
    }
    samples = await interleave(variants, rounds)
    ratios = {name: wall(taken) / critical for name, taken in samples.items()}
    return {"proposers a layer": width, **ratios}


async def main() -> None:
    """Measure layers of three widths, and report wall time / critical path."""
    chosen = options(__doc__)
    widths, rounds, second = ([2], 1, QUICK) if chosen.quick else ([6, 12, 24], 5, 1.0)
    critical = (LAYERS * SLOWEST + WRITER) * second
    every = [pair for width in widths for pair in latencies(width, second).items()]
    models = {name: {"latency": latency} for name, latency in every}
    with serving({**models, "writer": {"latency": WRITER * second}}) as server:
        rows = [await measure(server.url, width, rounds, critical) for width in widths]
    report("Wall time / critical path", rows, chosen.json, critical_path=critical)


if __name__ == "__main__":
    run(main())
