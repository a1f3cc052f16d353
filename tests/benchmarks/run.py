"""One run: wall time over the critical path, and CPU time over that of a hand-written gather."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import measuring
import mixtures
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from openai import AsyncOpenAI
from server import serving

LATENCIES = dict(zip(mixtures.PROPOSERS, (0.2, 0.36, 0.52, 0.68, 0.84, 1.0), strict=True))
AGGREGATOR = 0.5


async def main() -> None:
    """Measure."""
    options = measuring.options(__doc__)
    rounds = 2 if options.quick else 7
    critical = 2 * max(LATENCIES.values()) + AGGREGATOR
    slow = {name: {"latency": seconds} for name, seconds in LATENCIES.items()}
    slow[mixtures.AGGREGATOR] = {"latency": AGGREGATOR}
    async with _variants(slow, layers=2) as variants:
        walls = await measuring.interleave(variants, rounds)
    async with _variants({}, layers=3, repeat=2 if options.quick else 5) as variants:
        cpus = await measuring.interleave(variants, rounds if options.quick else 2 * rounds)
    rows = [
        {
            "variant": name,
            "2x6: wall / critical path": measuring.wall(walls[name]) / critical,
            "wall / gather": _over_gather(walls, name, "wall"),
            "3x6 at 0 ms: CPU / gather": _over_gather(cpus, name, "cpu"),
        }
        for name in walls
    ]
    measuring.report("One run", rows, options.json, rounds=rounds, critical=critical)


def _over_gather(taken: Mapping[str, Any], name: str, figure: str) -> float:
    one, base = ([getattr(sample, figure) for sample in taken[each]] for each in (name, _GATHER))
    return measuring.paired(one, base)


_NAMES = ("moa_graph", "moa_graph, SQLite", "moa_graph of ChatOpenAI objects")
_NAIVE = "naive graph of ChatOpenAI objects"
_GATHER = "gather, one AsyncOpenAI"
_AUTHORS = "references one after another (the authors')"


@asynccontextmanager
async def _variants(
    models: Mapping[str, Any], *, layers: int, repeat: int = 1
) -> AsyncIterator[dict[str, Any]]:
    """Build what is compared; each variant takes `repeat` runs, one after another."""
    questions = count()

    def repeated(run: mixtures.Run) -> Any:
        async def several() -> None:
            for _ in range(repeat):
                await run(f"Question {next(questions)}: {mixtures.WARM}")

        return several

    with serving(models) as server, tempfile.TemporaryDirectory() as folder:
        async with (
            AsyncSqliteSaver.from_conn_string(str(Path(folder, "runs.sqlite"))) as saver,
            AsyncOpenAI(base_url=server.url, api_key="none") as client,
        ):
            url = server.url
            stored = mixtures.named(url, layers, checkpointer=saver)
            runs = (
                mixtures.asking(mixtures.named(url, layers)),
                mixtures.asking(stored),
                mixtures.asking(mixtures.objects(url, layers)),
                mixtures.naive(url, layers),
                mixtures.gathering(client, layers),
                mixtures.scheduled_by_the_authors(client, layers),
            )
            names = (*_NAMES, _NAIVE, _GATHER, _AUTHORS)
            yield dict(zip(names, map(repeated, runs), strict=True))


if __name__ == "__main__":
    measuring.run(main())
