"""Work through the records on a cluster: Ray Data spreads them over workers, in order.

Ray begins lost workers anew, and their records elsewhere, which go on from their threads.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from moa_graph.batch.input import Record
from moa_graph.batch.rate_limits import Limits
from moa_graph.batch.ray.cluster import count_processors
from moa_graph.batch.ray.coordinator import Desk, environment
from moa_graph.batch.ray.worker import DATABASE, Worker
from moa_graph.batch.record_runner import Outcome
from moa_graph.batch.runner import AHEAD
from moa_graph.config.model import MoAConfig
from moa_graph.graph.deadlines import in_thread
from moa_graph.runs.jobs import Tally

LOOK = 1.0  # seconds between two looks at what is done
SPARE = 1000
"""How many calls the desk takes at a time beside those of records that wait to begin, or end."""


@dataclass(frozen=True)
class Work:
    """What every worker needs to know."""

    mixture: MoAConfig
    """Its models are built on the workers, where their packages must be installed."""
    batch: str
    """As `batch_name` gives it."""
    db: str
    """Address of the PostgreSQL database with the threads; every worker must reach it."""
    limits: Limits
    """How fast endpoints are asked, by all workers together; each gets an equal share."""


async def spread_batch(
    records: Callable[[], Iterable[Record | None]],
    work: Work,
    keep: Callable[[Outcome], Awaitable[None]],
    tally: Tally,
    *,
    workers: int | None = None,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[Tally], None] = lambda _: None,
) -> None:
    """Answer records on the connected cluster, and keep what came of them in order.

    As with `run_batch`, no more is read than a bound that follows from `concurrency`.

    Args:
        records: Reads the records, in another process of this machine; `None` is passed over.
        work: What is done with each.
        keep: As in `run_batch`.
        tally: Likewise.
        workers: How many actors; by default as many as the cluster has processors.
        concurrency: How many records each of them has under way at a time.
        max_cost: As in `run_batch`, of all together.
        show: Is told of progress, now and then.
    """
    workers = workers or count_processors()
    under_way = workers * concurrency
    make_desk: Any = ray.remote(num_cpus=0)(Desk)
    desk = make_desk.options(max_concurrency=SPARE + 2 * under_way).remote(
        tally.total, max_cost, AHEAD * under_way
    )
    await desk.equip.remote(environment(work.mixture) | {DATABASE: work.db})
    data = _answered(_Records(records, desk), work, desk, workers, concurrency)
    place = _Place()
    following = asyncio.create_task(_follow(desk, place, tally, show))
    try:
        async for row in _rows(data):
            if row["outcome"]:
                await keep(outcome := Outcome(**json.loads(row["outcome"])))
                place.answered += not outcome.failed
            place.kept, place.line = place.kept + 1, row["line"]
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        tally.done = max(tally.done, place.answered)
    await _look(desk, place, tally, show)


def _answered(source: Datasource, work: Work, desk: Any, workers: int, concurrency: int) -> Dataset:
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # not Ray's own, which says nothing of it
    context.target_max_block_size = 1  # bytes: a task of Ray is one record
    with DataContext.current(context):
        rows = ray.data.read_datasource(source, override_num_blocks=1, num_cpus=0)
        answered: Dataset = rows.map(
            Worker,
            fn_constructor_kwargs={
                "mixture": work.mixture.model_dump_json(),
                "batch": work.batch,
                "limits": work.limits.share(workers),
                "desk": desk,
            },
            compute=ActorPoolStrategy(  # Ray Data restarts workers, and asks again, without end
                size=workers,
                max_concurrent_calls_per_actor=concurrency,
                max_tasks_in_flight_per_actor=2 * concurrency,
            ),
        )
        return answered


class _Records(Datasource):
    """The records, read in one go on this machine."""

    def __init__(self, records: Callable[[], Iterable[Record | None]], desk: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._records, self._desk = records, desk

    @property
    def supports_distributed_reads(self) -> bool:
        """Whether other machines may read them, too."""
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        """Leave the size open."""
        return None

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        """Give the one task that reads."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._read, unknown)]

    def _read(self) -> Iterator[pa.Table]:
        for place, record in enumerate(filter(None, self._records())):
            if not ray.get(self._desk.admit.remote(place)):
                return
            yield pa.table({"record": [json.dumps(asdict(record))]})


async def _rows(data: Dataset) -> AsyncIterator[dict[str, Any]]:
    """Give the rows in order, without holding up the event loop."""
    blocks = iter(data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    while (block := await asyncio.wrap_future(in_thread(next, blocks, None))) is not None:
        for row in block.to_pylist():
            yield row


@dataclass
class _Place:
    """How far the rows are kept."""

    kept: int = 0
    answered: int = 0
    line: int = 0


async def _follow(desk: Any, place: _Place, tally: Tally, show: Callable[[Tally], None]) -> None:
    while True:
        await _look(desk, place, tally, show)
        await asyncio.sleep(LOOK)


async def _look(desk: Any, place: _Place, tally: Tally, show: Callable[[Tally], None]) -> None:
    vars(tally).update(vars(await desk.look.remote(place.kept, place.line)))
    show(tally)
