"""Process records on a cluster: Ray Data distributes them to workers and keeps their order.

Ray restarts lost workers. Their records run again elsewhere and continue from their threads.
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

from moa_graph.background_thread import run_in_thread
from moa_graph.batch.input import BatchRecord
from moa_graph.batch.rate_limits import RateLimits
from moa_graph.batch.ray.cluster import count_cpus
from moa_graph.batch.ray.coordinator import Coordinator, environment_for
from moa_graph.batch.ray.worker import DATABASE_VARIABLE, RecordWorker
from moa_graph.batch.record_runner import RecordOutcome
from moa_graph.batch.runner import READ_AHEAD_FACTOR
from moa_graph.config.model import MoAConfig
from moa_graph.runs.job_progress import JobProgress

PROGRESS_INTERVAL_S = 1.0  # seconds between progress updates
SPARE_ACTOR_CALLS = 1000
"""Concurrent calls of the coordinator, besides those of records that wait to start or end."""


@dataclass(frozen=True)
class WorkerSpec:
    """The configuration of every worker."""

    mixture: MoAConfig
    """The mixture; its models are built on the workers, which need their packages."""
    batch: str
    """Result of `batch_name`."""
    db: str
    """Address of the PostgreSQL database with the threads; every worker must reach it."""
    limits: RateLimits
    """Rate limits of all workers together; each gets an equal share."""


async def run_batch_on_ray(
    records: Callable[[], Iterable[BatchRecord | None]],
    spec: WorkerSpec,
    write_outcome: Callable[[RecordOutcome], Awaitable[None]],
    progress: JobProgress,
    *,
    workers: int | None = None,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[JobProgress], None] = lambda _: None,
) -> None:
    """Answer records on the connected cluster, and write the outcomes in order.

    As with `run_batch`, the number of records in memory has a bound that depends on `concurrency`.

    Args:
        records: Reads the records, in another process of this machine; `None` is skipped.
        spec: Configuration of the workers.
        write_outcome: As in `run_batch`.
        progress: Likewise.
        workers: Number of actors; by default the number of processors of the cluster.
        concurrency: Parallel records of each actor.
        max_cost: As in `run_batch`, for all workers together.
        show: Called at intervals.
    """
    workers = workers or count_cpus()
    max_running = workers * concurrency
    coordinator_class: Any = ray.remote(num_cpus=0)(Coordinator)
    coordinator = coordinator_class.options(
        max_concurrency=SPARE_ACTOR_CALLS + 2 * max_running
    ).remote(progress.total, max_cost, READ_AHEAD_FACTOR * max_running)
    await coordinator.set_environment.remote(
        environment_for(spec.mixture) | {DATABASE_VARIABLE: spec.db}
    )
    data = _build_dataset(
        _RecordSource(records, coordinator), spec, coordinator, workers, concurrency
    )
    position = _WritePosition()
    polling = asyncio.create_task(_poll_progress(coordinator, position, progress, show))
    try:
        async for row in _iterate_rows(data):
            if row["outcome"]:
                await write_outcome(outcome := RecordOutcome(**json.loads(row["outcome"])))
                position.answered += not outcome.failed
            position.written, position.last_line = position.written + 1, row["line"]
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        progress.done = max(progress.done, position.answered)
    await _update_progress(coordinator, position, progress, show)


def _build_dataset(
    source: Datasource, spec: WorkerSpec, coordinator: Any, workers: int, concurrency: int
) -> Dataset:
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # Ray's own bar does not show records
    context.target_max_block_size = 1  # bytes: a task of Ray is one record
    with DataContext.current(context):
        rows = ray.data.read_datasource(source, override_num_blocks=1, num_cpus=0)
        answered: Dataset = rows.map(
            RecordWorker,
            fn_constructor_kwargs={
                "mixture": spec.mixture.model_dump_json(),
                "batch": spec.batch,
                "limits": spec.limits.share_per_process(workers),
                "coordinator": coordinator,
            },
            compute=ActorPoolStrategy(  # Ray Data restarts workers and retries endlessly
                size=workers,
                max_concurrent_calls_per_actor=concurrency,
                max_tasks_in_flight_per_actor=2 * concurrency,
            ),
        )
        return answered


class _RecordSource(Datasource):
    """The records, read by one task on this machine."""

    def __init__(
        self, records: Callable[[], Iterable[BatchRecord | None]], coordinator: Any
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._records, self._coordinator = records, coordinator

    @property
    def supports_distributed_reads(self) -> bool:
        """Whether other machines may read the records."""
        return False

    def estimate_inmemory_data_size(self) -> int | None:
        """Return no estimate."""
        return None

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        """Return the single read task."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._read_records, unknown)]

    def _read_records(self) -> Iterator[pa.Table]:
        for index, record in enumerate(filter(None, self._records())):
            if not ray.get(self._coordinator.may_read.remote(index)):
                return
            yield pa.table({"record": [json.dumps(asdict(record))]})


async def _iterate_rows(data: Dataset) -> AsyncIterator[dict[str, Any]]:
    """Yield the rows in order, without blocking the event loop."""
    blocks = iter(data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    while (block := await asyncio.wrap_future(run_in_thread(next, blocks, None))) is not None:
        for row in block.to_pylist():
            yield row


@dataclass
class _WritePosition:
    """The number of written rows."""

    written: int = 0
    answered: int = 0
    last_line: int = 0


async def _poll_progress(
    coordinator: Any,
    position: _WritePosition,
    progress: JobProgress,
    show: Callable[[JobProgress], None],
) -> None:
    while True:
        await _update_progress(coordinator, position, progress, show)
        await asyncio.sleep(PROGRESS_INTERVAL_S)


async def _update_progress(
    coordinator: Any,
    position: _WritePosition,
    progress: JobProgress,
    show: Callable[[JobProgress], None],
) -> None:
    vars(progress).update(
        vars(await coordinator.exchange_progress.remote(position.written, position.last_line))
    )
    show(progress)
