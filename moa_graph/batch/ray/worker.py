"""A worker of a cluster: answers records side by side on one event loop."""

import asyncio
import json
import os
from contextlib import AsyncExitStack
from dataclasses import asdict
from time import time
from typing import Any

import ray

from moa_graph.batch.input import Record, thread_of
from moa_graph.batch.rate_limits import Limits
from moa_graph.batch.ray.cluster import ClusterError
from moa_graph.batch.ray.thread_locks import ThreadLocks, open_locks
from moa_graph.batch.record_runner import Answerer, Outcome
from moa_graph.config.model import MoAConfig
from moa_graph.redaction import describe
from moa_graph.runs.store import open_store

DATABASE = "MOA_DB"
"""The variable that names the database; its address may hold a password."""


class Worker:
    """Answers a row of Ray Data at a time; Ray calls it for many at once.

    Args:
        mixture: A `MoAConfig`, as JSON.
        batch: As `batch_name` gives it.
        limits: This worker's share.
        desk: The actor `Desk`.
    """

    def __init__(self, mixture: str, batch: str, limits: Limits, desk: Any) -> None:
        os.environ.update(ray.get(desk.environment.remote()))
        self._began = time() - ray.get(desk.age.remote())  # by the clock of this machine
        self._mixture = MoAConfig.model_validate_json(mixture)
        self._batch, self._limits, self._desk = batch, limits, desk
        self._opened = AsyncExitStack()  # closed by the end of the process
        self._opening: asyncio.Task[tuple[Answerer, ThreadLocks]] | None = None

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answer a record; the outcome is empty if it was not to begin.

        Raises:
            ClusterError: If it cannot work; others may hold what cannot be sent, or keys.
        """
        record = Record(**json.loads(row["record"]))
        try:
            outcome = await self._answer(record)
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the work
            raise ClusterError(f"a worker failed: {describe(error)}") from None
        told = json.dumps(asdict(outcome)) if outcome else ""
        return {"line": record.line, "outcome": told}

    async def _answer(self, record: Record) -> Outcome | None:
        self._opening = self._opening or asyncio.create_task(self._open())
        answerer, locks = await self._opening
        async with locks.hold(thread_of(self._batch, record)):
            if not await self._desk.begin.remote(record.line):
                return None
            outcome = await answerer.answer(record)
            await self._desk.end.remote(record.line, outcome)
            return outcome

    async def _open(self) -> tuple[Answerer, ThreadLocks]:
        db = os.environ[DATABASE]
        store = await self._opened.enter_async_context(open_store(db))
        locks = await self._opened.enter_async_context(open_locks(db))
        answerer = Answerer(
            self._mixture, store.saver, self._batch, self._limits, began=self._began
        )
        return answerer, locks
