"""Many runs at a time in one process, 3 layers of 6 at 500 ms a call: times over the critical path.

The makespan is the time until the last of the runs that began together has ended, the spread the
longest run over the shortest. The floor is the same graph over aiohttp alone. A stall is the time
between two beats of a task that sleeps for a millisecond: on a machine with nothing else to do its
CPU is as long. What was there before the runs is frozen for the garbage collector, and its full
passes are as rare as docs/performance.md advises.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from statistics import median
from typing import Any

import aiohttp
import measuring
import mixtures
from openai import AsyncOpenAI
from server import Server, serving

LATENCY, LAYERS = 0.5, 3
CRITICAL = LATENCY * (LAYERS + 1)

_questions = count()


async def main() -> None:
    """Measure."""
    options = measuring.options(__doc__)
    sizes = [1, 4] if options.quick else [1, 16, 64, 256]
    table = []
    gc.set_threshold(700, 10, 100)
    with serving({"*": {"latency": LATENCY}}) as server:
        async with _variants(server.url) as variants:
            for size in sizes:
                table += await _measure(size, variants, server, 1 if options.quick else 5)
    measuring.report("Many runs at a time", table, options.json, critical=CRITICAL)


async def _measure(
    size: int, variants: Mapping[str, mixtures.Run], server: Server, rounds: int
) -> list[dict[str, Any]]:
    """Start so many runs together, the variants in turns."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for number in range(-1, rounds):
        for name, run in variants.items():
            server.take_counts()
            figures = await _together(size, run)
            if number >= 0:
                taken[name].append(figures | {"connections": server.take_counts()["connections"]})
    return [
        {"at a time": size, "variant": name}
        | {figure: median(each[figure] for each in figures) for figure in figures[0]}
        for name, figures in taken.items()
    ]


async def _together(size: int, run: mixtures.Run) -> dict[str, float]:
    async def timed() -> float:
        started = time.perf_counter()
        await run(f"Question {next(_questions)}: {mixtures.WARM}")
        return time.perf_counter() - started

    gc.collect()
    gc.freeze()
    heart = asyncio.create_task(_beat(stalls := []))
    await asyncio.sleep(0)
    begun, cpu = time.perf_counter(), time.process_time()
    walls = await asyncio.gather(*(timed() for _ in range(size)))
    makespan, cpu = time.perf_counter() - begun, time.process_time() - cpu
    heart.cancel()
    return {
        "makespan": makespan / CRITICAL,
        "median": median(walls) / CRITICAL,
        "spread": max(walls) / min(walls),
        "CPU ms / run": cpu / size * 1000,
        "longest stall ms": max(wall for wall, _ in stalls) * 1000,
        "its most CPU ms": max(cpu for _, cpu in stalls) * 1000,
    }


async def _beat(stalls: list[tuple[float, float]]) -> None:
    """Note the wall and CPU time between two beats, until it is cancelled."""
    while True:
        begun, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        stalls.append((time.perf_counter() - begun, time.thread_time() - cpu))


@asynccontextmanager
async def _variants(url: str) -> AsyncIterator[dict[str, mixtures.Run]]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        AsyncOpenAI(base_url=url, api_key="none", timeout=600) as client,
    ):
        yield {
            "floor": mixtures.asking(mixtures.raw(url, LAYERS, session)),
            "moa_graph": mixtures.asking(mixtures.named(url, LAYERS)),
            "moa_graph of ChatOpenAI objects": mixtures.asking(mixtures.objects(url, LAYERS)),
            "gather, one AsyncOpenAI": mixtures.gathering(client, LAYERS),
            "naive graph of ChatOpenAI objects": mixtures.naive(url, LAYERS),
        }


if __name__ == "__main__":
    measuring.run(main())
