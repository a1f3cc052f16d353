"""The record of a request for its log line, without contents.

Handlers need not fill it in: the started run, the requested mixture and an error update the record
of the current request.
"""

import asyncio
import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from moa_graph.runs.formatting import format_total_cost
from moa_graph.server.run_figures import RunFigures

logger = logging.getLogger("moa_graph.server")

FIELDS_ATTRIBUTE = "moa_fields"
"""Attribute of a `logging` record with the fields of its line, by stable names."""

_CLIENT_CLOSED_REQUEST = 499
_FIRST_ERROR = 400
_current: ContextVar["RequestRecord | None"] = ContextVar("moa_graph_request", default=None)


@dataclass
class RequestRecord:
    """A request, and its outcome."""

    request_id: str
    client: str
    method: str
    path: str
    key_name: str | None = None
    """Name of its key."""
    model: str | None = None
    """The requested mixture, if it exists."""
    error: str | None = None
    """Code of its error."""
    status: int | None = None
    """HTTP status; `None` if none was sent."""
    first_byte_at: float | None = None
    is_complete: bool = False
    """Whether the complete response was sent."""
    is_raised: bool = False
    """Whether an error of the server interrupted the response."""
    is_logged: bool = False
    joined: str | None = None
    """Id of the request whose response it joined."""
    started: float = field(default_factory=perf_counter)
    run: RunFigures | None = None
    task: asyncio.Task[Any] | None = None

    def follow_run(self, task: asyncio.Task[Any], figures: RunFigures) -> None:
        """Record the run that answers the request."""
        self.task, self.run = task, figures
        figures.open_requests += 1

    def join(self, other: "RequestRecord") -> None:
        """Record the request whose run also answers this one."""
        self.joined, self.model = other.request_id, other.model
        if other.task and other.run:
            self.follow_run(other.task, other.run)

    @property
    def ending(self) -> str:
        """How the response ended for the client."""
        if self.is_raised:
            return "failed"
        if self.status == _CLIENT_CLOSED_REQUEST or not self.is_complete:
            return "hung up"
        if self.status and self.status < _FIRST_ERROR:
            status = self.run.status if self.run else None
            if status == "cancelled":
                return "stopped"
            if self.error or status == "failed":
                return "failed"
        return "complete"

    def log(self) -> None:
        """Log the request; the figures of a run are logged once, at its end."""
        self.is_logged = True
        seconds, run = perf_counter() - self.started, self._take_run()
        fields = self._to_fields(seconds) | (run.to_fields() if run else {})
        text = ", ".join([self._to_text(seconds), *(_describe_run(run) if run else ())])
        logger.info("%s", text, extra={FIELDS_ATTRIBUTE: fields})

    def _take_run(self) -> RunFigures | None:
        """Return the run, if it has ended or is ending, and no other line has its figures."""
        run, task = self.run, self.task
        if not run or not task:
            return None
        run.open_requests -= 1
        if run.is_told or not (task.done() or task.cancelling()):
            return None
        run.is_told = True
        return run

    def _to_fields(self, seconds: float) -> dict[str, Any]:
        return {
            "event": "request",
            "request_id": self.request_id,
            "key": self.key_name,
            "client": self.client,
            "method": self.method,
            "path": self.path,
            "model": self.model,
            "status": self.status,
            "ending": self.ending,
            "error": self.error,
            "joined": self.joined,
            "seconds": round(seconds, 3),
            "first_byte_seconds": self._since_start(self.first_byte_at),
            "first_token_seconds": self._first_token_seconds,
        }

    def _to_text(self, seconds: float) -> str:
        words = [self.request_id, self.key_name or "-", self.client, self.method, self.path]
        status = f"{self.status or '-'}{f' {self.error}' if self.error else ''}"
        ending = "" if self.ending == "complete" else f", {self.ending}"
        words += [self.model or "-", f"{status}{ending}", f"{seconds:.2f} s"]
        first_token = self._first_token_seconds
        first = [] if first_token is None else [f"first token {first_token:.2f} s"]
        joined = [f"joined {self.joined}"] if self.joined else []
        return ", ".join([" ".join(words), *first, *joined])

    @property
    def _first_token_seconds(self) -> float | None:
        return self._since_start(self.run.first_token_at if self.run else None)

    def _since_start(self, moment: float | None) -> float | None:
        return None if moment is None else round(max(moment - self.started, 0.0), 3)


def current_record() -> RequestRecord | None:
    """Return the record of the current request."""
    return _current.get()


def enter_request(record: RequestRecord) -> None:
    """Set the current request for this task and the tasks that it starts."""
    _current.set(record)


def note_model(name: str) -> None:
    """Record the requested mixture of the current request."""
    if record := _current.get():
        record.model = name


def note_error(code: str | None) -> None:
    """Record the error of the current request."""
    if record := _current.get():
        record.error = code


def note_joined(other: RequestRecord | None) -> None:
    """Record the request whose response the current request receives."""
    record = _current.get()
    if record and other:
        record.join(other)


def log_run(figures: RunFigures, record: RequestRecord | None, seconds: float) -> None:
    """Log a completed run that no log line of a request includes."""
    request_id = record.request_id if record else None
    fields = {
        "event": "run",
        "request_id": request_id,
        "model": figures.name,
        "seconds": round(seconds, 3),
    }
    words = f"{request_id or '-'} run of {figures.name or '-'} {figures.status} {seconds:.2f} s"
    text = ", ".join([words, *_describe_run(figures)])
    logger.info("%s", text, extra={FIELDS_ATTRIBUTE: fields | figures.to_fields()})


def _describe_run(run: RunFigures) -> list[str]:
    """Format the figures of a run, and its failed agents."""
    if run.name is None:
        return []
    described = [
        f"{run.prompt_tokens:,} + {run.completion_tokens:,} tokens",
        format_total_cost(run.cost, complete=run.cost_is_complete),
    ]
    if run.causes:
        causes = ", ".join(f"{node} ({cause})" for node, cause in run.causes.items())
        described.append(f"failed: {causes}")
    return described
