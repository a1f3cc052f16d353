"""A worker of a cluster: it answers records in parallel on one event loop."""

import asyncio
import json
import os
from contextlib import AsyncExitStack
from dataclasses import asdict
from time import time
from typing import Any

import ray

from moa_graph.batch.input import BatchRecord, thread_id_for
from moa_graph.batch.rate_limits import RateLimits
from moa_graph.batch.ray.cluster import ClusterError
from moa_graph.batch.ray.thread_locks import ThreadLocks, open_locks
from moa_graph.batch.record_runner import RecordOutcome, RecordRunner
from moa_graph.config.model import MoAConfig
from moa_graph.redaction import redacted_message
from moa_graph.runs.store import open_run_store

DATABASE_VARIABLE = "MOA_DB"
"""Environment variable with the address of the database, which may contain a password."""


class RecordWorker:
    """Answers a row of Ray Data at a time; Ray calls it for many rows concurrently.

    Args:
        mixture: A `MoAConfig`, as JSON.
        batch: Result of `batch_name`.
        limits: This worker's share of the rate limits.
        coordinator: The actor `Coordinator`.
    """

    def __init__(self, mixture: str, batch: str, limits: RateLimits, coordinator: Any) -> None:
        os.environ.update(ray.get(coordinator.get_environment.remote()))
        self._started_at = time() - ray.get(
            coordinator.elapsed_seconds.remote()
        )  # on the clock of this machine
        self._mixture = MoAConfig.model_validate_json(mixture)
        self._batch, self._limits, self._coordinator = batch, limits, coordinator
        self._resources = AsyncExitStack()  # closed at the end of the process
        self._setup_task: asyncio.Task[tuple[RecordRunner, ThreadLocks]] | None = None

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answer a record; the outcome is empty if the record must not start.

        Raises:
            ClusterError: If the worker fails; other errors may contain keys or not be picklable.
        """
        record = BatchRecord(**json.loads(row["record"]))
        try:
            outcome = await self._answer_record(record)
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the work
            raise ClusterError(f"a worker failed: {redacted_message(error)}") from None
        serialized = json.dumps(asdict(outcome)) if outcome else ""
        return {"line": record.line, "outcome": serialized}

    async def _answer_record(self, record: BatchRecord) -> RecordOutcome | None:
        self._setup_task = self._setup_task or asyncio.create_task(self._open_resources())
        runner, locks = await self._setup_task
        async with locks.hold(thread_id_for(self._batch, record)):
            if not await self._coordinator.start_record.remote(record.line):
                return None
            outcome = await runner.answer(record)
            await self._coordinator.finish_record.remote(record.line, outcome)
            return outcome

    async def _open_resources(self) -> tuple[RecordRunner, ThreadLocks]:
        db = os.environ[DATABASE_VARIABLE]
        store = await self._resources.enter_async_context(open_run_store(db))
        locks = await self._resources.enter_async_context(open_locks(db))
        runner = RecordRunner(
            self._mixture,
            store.checkpointer,
            self._batch,
            self._limits,
            started_at=self._started_at,
        )
        return runner, locks
