"""What the log, metrics and traces of `moa serve` add to the CPU of a run."""

import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from measuring import cpu, interleave, options, report, run
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from server import serving

from moa_graph import MoAConfig
from moa_graph.server.telemetry import ServerTelemetry

LAYERS, WIDTH = 2, 3
CALLS = LAYERS * WIDTH + 1
QUESTION = {"messages": "Why is the sky blue?"}


def mixture(url: str) -> MoAConfig:
    """Build a mixture of OpenAI models that the server plays."""
    row = {f"m{n}": {"model": f"openai:m{n}", "base_url": url} for n in range(WIDTH)}
    writer = {"model": "openai:writer", "base_url": url}
    data = {"name": "mine", "layers": [row] * LAYERS, "aggregator": writer}
    return MoAConfig.model_validate(data)


def variants(
    config: MoAConfig, runs: int, provider: TracerProvider
) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Give the same runs without telemetry, and with more and more of it."""
    graph = config.graph().compile(name=config.name)
    served = {"mine": config}
    observers = {
        "log": ServerTelemetry(served),
        "log, metrics": ServerTelemetry(served, metrics=True),
        "log, metrics, traces": ServerTelemetry(
            served, metrics=True, traces=True, tracer_provider=provider
        ),
    }

    async def bare() -> None:
        for _ in range(runs):
            await graph.ainvoke(QUESTION)

    async def observed(telemetry: ServerTelemetry) -> None:
        for _ in range(runs):
            await telemetry.start_run(graph.ainvoke(QUESTION))
        provider.force_flush()  # else the exporter works in the next round

    return {"none": bare} | {name: partial(observed, each) for name, each in observers.items()}


async def main() -> None:
    """Measure the CPU of a run with each, and how much more that is than without."""
    chosen = options(__doc__)
    runs, rounds = (2, 1) if chosen.quick else (20, 15)
    models = {name: {} for name in (*(f"m{n}" for n in range(WIDTH)), "writer")}
    with Path(os.devnull).open("w") as sink, serving(models) as server:
        logger = logging.getLogger("moa_graph")
        logger.setLevel(logging.INFO)
        logger.addHandler(logging.StreamHandler(sink))
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=sink)))
        samples = await interleave(variants(mixture(server.url), runs, provider), rounds)
        provider.shutdown()
    base = cpu(samples["none"])
    rows = [
        {
            "telemetry": name,
            "CPU of a run, ms": 1000 * cpu(taken) / runs,
            "more, %": 100 * (cpu(taken) / base - 1),
            "more for each call, ms": 1000 * (cpu(taken) - base) / runs / CALLS,
        }
        for name, taken in samples.items()
    ]
    report("CPU of a run with telemetry", rows, chosen.json, calls=CALLS)


if __name__ == "__main__":
    run(main())
