"""How a record is answered: on a thread of its own, so that no answer is paid for twice."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any

from moa_graph.batch.input import Record, thread_of
from moa_graph.batch.rate_limits import NO_LIMITS, Limits
from moa_graph.config.model import MoAConfig
from moa_graph.graph.turns import read_turn
from moa_graph.redaction import describe
from moa_graph.runs.record import Run, read_run
from moa_graph.runs.store import Saver, present_values, run_config

Row = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a record. It is plain data, so that it can be sent to another process."""

    row: Row
    """What is written of it: with an `answer`, or with an `error`."""
    calls: int = 0
    """Calls that were made now, not by a process before."""
    tokens: int = 0
    """Tokens of these calls, as far as they are known."""
    spent: float = 0.0
    """US dollars that these calls cost, as far as it is known."""
    unpriced: int = 0
    """Calls among them that gave an answer whose cost is not known: it is not in `spent`."""

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return "error" in self.row


class Answerer:
    """A mixture that answers records; its models are built at once.

    Args:
        mixture: The mixture.
        saver: Where the threads are kept.
        batch: As `batch_name` gives it.
        limits: How fast endpoints are asked.
        began: When the work began, in seconds since 1970; by default now. Calls from before are
            not counted.

    Raises:
        ValueError: If a key is missing, or a model cannot be built.
    """

    def __init__(
        self,
        mixture: MoAConfig,
        saver: Saver,
        batch: str,
        limits: Limits = NO_LIMITS,
        *,
        began: float | None = None,
    ) -> None:
        self._mixture, self._batch, self._began = mixture, batch, began or time()
        builder = mixture.graph(lazy=False)
        limits.apply(builder)
        self._graph = builder.compile(checkpointer=saver, name=mixture.name)

    async def answer(self, record: Record) -> Outcome:
        """Answer a record, or go on with what is stored of it; a failure is an outcome, too.

        Whoever calls it holds the batch meanwhile, or the thread (`Store.lock`).

        Raises:
            Exception: If the database fails: nothing more is to be paid for that cannot be kept.
        """
        if record.mistake:
            return Outcome({"line": record.line, "id": record.id, "error": record.mistake})
        thread = thread_of(self._batch, record)
        try:
            values = await self._run(record, thread)
        except Exception as error:
            if _is_of_database(error):
                raise
            return self._outcome(record, thread, await self._left(thread), describe(error))
        return self._outcome(record, thread, values)

    async def _run(self, record: Record, thread: str) -> Mapping[str, Any]:
        config = run_config(thread, self._mixture)
        known = await self._graph.aget_state(config)
        turn = read_turn(known)
        if turn.answered:
            return known.values
        message = turn.ask(record.messages) if turn.status == "none" else turn.resume_input
        return await self._graph.ainvoke(message, config, durability="sync")

    async def _left(self, thread: str) -> Mapping[str, Any]:
        """Read what is stored of a run that failed."""
        snapshot = await self._graph.aget_state(run_config(thread, self._mixture))
        return present_values(self._graph, snapshot)

    def _outcome(
        self, record: Record, thread: str, values: Mapping[str, Any], error: str | None = None
    ) -> Outcome:
        run = self._read(values)
        row: Row = {"line": record.line, "id": record.id}
        row |= {"error": error} if error else _answer(run)
        row |= {"cost": run.cost if run.complete else None, "thread": thread}
        now = [call for call in run.calls if (call.started or 0.0) >= self._began]
        told = [call for call in now if call.error is None or call.usage]
        return Outcome(
            row,
            calls=len(now),
            tokens=sum(call.usage["total_tokens"] for call in now if call.usage),
            spent=sum(call.cost or 0.0 for call in now),
            unpriced=sum(call.cost is None for call in told),
        )

    def _read(self, values: Mapping[str, Any]) -> Run:
        if not values.get("messages"):  # it failed before its thread began
            return Run("", None, ())
        return read_run(values, prices=self._mixture.prices)


def _answer(run: Run) -> Row:
    assert run.answer  # noqa: S101  # a graph that ends has one
    account = run.answer.response_metadata["moa"]
    return {"answer": run.answer.text, "usage": account["usage"], "failed": account["causes"]}


def _is_of_database(error: Exception) -> bool:
    return isinstance(error, sqlite3.Error) or type(error).__module__.startswith("psycopg")
