"""Answer a record on its own thread, so that a repeated run reuses stored answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from moa_graph.batch.input import BatchRecord, thread_id_for
from moa_graph.batch.rate_limits import NO_RATE_LIMITS, RateLimits
from moa_graph.config.model import MoAConfig
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.redaction import redacted_message
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.driver import TurnResult, TurnRun
from moa_graph.runs.job_progress import CallTotals, JobProgress
from moa_graph.runs.record import RunRecord, read_run
from moa_graph.runs.store import Checkpointer, build_run_config

OutputRow = dict[str, Any]


@dataclass
class RecordOutcome(CallTotals):
    """Outcome of a record, as plain data that can be sent to another process.

    Calls of earlier processes are not counted.
    """

    row: OutputRow
    """The row to write, with an `answer` or an `error`."""

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return "error" in self.row

    def count_in(self, progress: JobProgress) -> None:
        """Add the record and its calls to the progress."""
        progress.count_job(failed=self.failed)
        progress.add_totals(self)


class RecordRunner:
    """A mixture that answers records; its models are built immediately.

    Args:
        mixture: The mixture.
        saver: Checkpointer of the threads.
        batch: Result of `batch_name`.
        limits: Rate limits.
        began: Start of the work, in seconds since 1970; by default now. Earlier calls are not
            counted.

    Raises:
        ValueError: If a key is missing, or a model cannot be built.
    """

    def __init__(
        self,
        mixture: MoAConfig,
        saver: Checkpointer,
        batch: str,
        limits: RateLimits = NO_RATE_LIMITS,
        *,
        started_at: float | None = None,
    ) -> None:
        self._mixture, self._batch, self._started_at = mixture, batch, started_at or time()
        builder = mixture.graph(lazy=False)
        limits.limit_agents(builder)
        self._graph = builder.compile(checkpointer=saver, name=mixture.name)

    async def answer(self, record: BatchRecord) -> RecordOutcome:
        """Answer a record, or continue its stored thread; a failure is an outcome.

        The caller holds the batch or the thread (`RunStore.lock_thread`).

        Raises:
            Exception: If the database fails: answers that cannot be stored must not be paid for.
        """
        if record.invalid_reason:
            return RecordOutcome(
                {"line": record.line, "id": record.id, "error": record.invalid_reason}
            )
        thread = thread_id_for(self._batch, record)
        run = await TurnRun.prepare(
            self._graph,
            build_run_config(thread, self._mixture),
            lambda turn: turn.ask(record.messages) if turn.status == "none" else turn.resume_input,
        )
        return self._build_outcome(record, thread, await run.run_to_end())

    def _build_outcome(self, record: BatchRecord, thread: str, result: TurnResult) -> RecordOutcome:
        run = self._read_run_record(result.values, getattr(result.error, "failed_calls", ()))
        row: OutputRow = {"line": record.line, "id": record.id}
        row |= {"error": redacted_message(result.error)} if result.error else _answer_fields(run)
        if notes := {c.node: c.ending_note for c in run.calls if c.ending_note}:
            row["incomplete"] = notes
        row |= {"cost": run.cost if run.cost_is_complete else None, "thread": thread}
        calls = (*run.calls, *run.failed_writers, *run.decisions)
        new_calls = [call for call in calls if (call.started or 0.0) >= self._started_at]
        return RecordOutcome(row, **vars(_total_calls(new_calls)))

    def _read_run_record(
        self, values: Mapping[str, Any], failed_calls: Sequence[FailedCall]
    ) -> RunRecord:
        if not values.get("messages"):  # it failed before its thread started
            return RunRecord("", None, ())
        return read_run(values, prices=self._mixture.prices, failed_calls=failed_calls)


def _total_calls(calls: Sequence[AgentCall]) -> CallTotals:
    totals = CallTotals()
    for call in calls:
        totals.add_call(
            call.model,
            call.usage["total_tokens"] if call.usage else 0,
            call.cost,
            is_billed=call.is_billed,
            failed=call.error is not None,
            is_whole_cost=call.is_cost_known,
        )
    return totals


def _answer_fields(run: RunRecord) -> OutputRow:
    summary = read_run_summary(run.answer)
    assert run.answer and summary  # noqa: S101, PT018  # a graph that ends has them
    return {"answer": run.answer.text, "usage": summary["usage"], "failed": summary["errors"]}
