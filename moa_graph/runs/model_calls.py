"""Observe the model calls of a run, for budgets and counts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage


@dataclass(frozen=True)
class CallRecord:
    """Result of one model call."""

    label: str
    """The model: `provider:model`."""
    sample: int
    node: str | None
    """Node of the caller, if it is a graph."""
    message: AIMessage | None
    """The answer; `None` on failure."""
    error: str | None
    """Cause of a failure; `None` on success."""
    usage: Mapping[str, Any] | None
    """Tokens as LangChain's `UsageMetadata`; also for an empty answer."""
    started: float
    """Start of the call, in seconds since 1970."""
    seconds: float
    """Wall time of the original call."""
    from_store: bool
    """Whether the answer was stored, so that it cost nothing now."""
    may_be_billed: bool = False
    """Whether it failed and may have cost an unknown number of tokens."""

    @property
    def is_billed(self) -> bool:
        """Whether the call is billed or may be: providers do not bill refused requests."""
        return self.error is None or self.usage is not None or self.may_be_billed


_listener: ContextVar[Callable[[CallRecord], None] | None] = ContextVar("listener", default=None)


@contextmanager
def call_listener(listener: Callable[[CallRecord], None]) -> Iterator[None]:
    """Receive each call of this block, including its tasks and threads."""
    outer = _listener.get()

    def hear(record: CallRecord) -> None:
        listener(record)
        if outer:
            outer(record)

    token = _listener.set(hear)
    try:
        yield
    finally:
        _listener.reset(token)


def report_call(record: CallRecord) -> None:
    """Report a call to the listeners."""
    if listener := _listener.get():
        listener(record)
