"""Calls of models, as whoever counts them hears of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage


@dataclass(frozen=True)
class CallRecord:
    """What came of one call."""

    label: str
    """What was asked: `provider:model`."""
    sample: int
    node: str | None
    """The node of a graph that asked, if one did."""
    message: AIMessage | None
    """The answer; `None` on failure."""
    error: str | None
    """Why there is no answer; `None` on success."""
    usage: Mapping[str, Any] | None
    """Tokens, as LangChain's `UsageMetadata`; also of an answer that was empty."""
    started: float
    """When the call was made, in seconds since 1970."""
    seconds: float
    """Wall time of the call when it was made."""
    from_store: bool
    """Whether it was paid for before, or elsewhere: now it cost nothing."""
    may_be_billed: bool = False
    """Whether it failed and may have cost tokens of which nobody said how many."""

    @property
    def is_billed(self) -> bool:
        """Whether it cost something, or may have: providers do not bill what they refuse."""
        return self.error is None or self.usage is not None or self.may_be_billed


_listener: ContextVar[Callable[[CallRecord], None] | None] = ContextVar("listener", default=None)


@contextmanager
def call_listener(listener: Callable[[CallRecord], None]) -> Iterator[None]:
    """Hear of each call that is made inside, also in the tasks and threads that begin there."""
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
    """Tell those who listen of a call."""
    if listener := _listener.get():
        listener(record)
