"""Time limits of calls: timeout, deadline of the layer, and grace.

The proposers of a layer that run in parallel share a `LayerDeadline` in this process, found by the
checkpoint that they all started from. It is not stored. The time of a resumed layer starts again,
and earlier answers count only in the process that received them.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from langchain_core.exceptions import ModelTimeoutError
from langchain_core.runnables import Runnable
from langgraph.runtime import get_runtime

from moa_graph.background_thread import run_in_thread
from moa_graph.errors import MoAError
from moa_graph.graph.policy import LayerPolicy
from moa_graph.sync_async import Step

_MAX_LAYER_DEADLINES = (
    4096  # entries of killed and partly resumed layers stay until newer ones evict them
)
_layer_deadlines: "OrderedDict[tuple[Any, ...], LayerDeadline]" = OrderedDict()


class DeadlineExceededError(MoAError, ModelTimeoutError):
    """A call exceeded a time limit."""


class CallDeadline(NamedTuple):
    """The time at which a call is cut off, and the reason."""

    expires_at: float
    reason: str


class LayerDeadline:
    """The time limits that the parallel proposers of one layer share."""

    def __init__(self, policy: LayerPolicy, *, unfinished: int, required_answers: int) -> None:
        self._policy, self._started = policy, monotonic()
        self._unfinished, self._required_answers = unfinished, required_answers
        self._running, self._stopped = 0, False
        self._quorum_at: float | None = None if required_answers > 0 else monotonic()
        self._changed = threading.Condition()
        self._timeout_scopes: dict[asyncio.Timeout, Callable[[], float | None]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(
            type(self),
            self._policy,
            unfinished=self._unfinished,
            required_answers=self._required_answers,
        ), ()

    def count_answer(self) -> None:
        """Count an answer. The last one that the quorum requires starts the grace period."""
        if self._policy.grace is None:
            return  # no grace
        with self._changed:
            self._required_answers -= 1
            if self._required_answers == 0:
                self._quorum_at = monotonic()
                self._changed.notify_all()
        for scope, when in self._timeout_scopes.items():
            if not scope.expired():
                scope.reschedule(when())

    def now(self) -> float:
        """Return the time on the monotonic clock of the deadlines."""
        return monotonic()

    def proposer_started(self) -> None:
        """Count a proposer that starts."""
        with self._changed:
            self._running += 1

    def proposer_finished(self, *, stopped: bool) -> bool:
        """Count a proposer that ends, and return whether it was the last."""
        with self._changed:
            self._running -= 1
            self._unfinished -= not stopped
            self._stopped |= stopped
            return self._unfinished <= 0

    def restarted(self) -> "LayerDeadline":
        """Create one for the remaining proposers when a stopped run is resumed."""
        return LayerDeadline(
            self._policy, unfinished=self._unfinished, required_answers=self._required_answers
        )

    @property
    def is_abandoned(self) -> bool:
        """Whether the run was stopped, by a cancellation or an interrupt."""
        return self._stopped and self._running == 0

    def call_deadline(self, started: float, timeout: float | None) -> CallDeadline | None:
        """Return the first limit of a call that started at a time."""
        policy, deadlines = self._policy, list[CallDeadline]()
        if timeout is not None:
            deadlines.append(
                CallDeadline(started + timeout, f"no answer within its timeout of {timeout:g} s")
            )
        if policy.deadline is not None:
            reason = f"cut off by the layer's deadline of {policy.deadline:g} s"
            deadlines.append(CallDeadline(self._started + policy.deadline, reason))
        if policy.grace is not None and self._quorum_at is not None:
            reason = f"cut off: the quorum was reached, and the grace of {policy.grace:g} s over"
            deadlines.append(CallDeadline(max(self._quorum_at, started) + policy.grace, reason))
        return min(deadlines, default=None)

    @asynccontextmanager
    async def cancel_after(self, started: float, timeout: float | None) -> AsyncIterator[None]:
        """Cancel the block at its deadline.

        Raises:
            DeadlineExceededError: If it was cancelled.
        """
        if timeout is None and self._policy.has_no_cutoff:
            yield
            return
        loop = asyncio.get_running_loop()

        def loop_deadline() -> float | None:
            deadline = self.call_deadline(started, timeout)
            return loop.time() + deadline.expires_at - monotonic() if deadline else None

        self._raise_if_expired(started, timeout)
        scope = asyncio.timeout_at(loop_deadline())
        try:
            async with scope:
                self._timeout_scopes[scope] = loop_deadline
                try:
                    yield
                finally:
                    del self._timeout_scopes[scope]
        except Exception as error:
            self._report_expiry(error, started, timeout, is_cancelled=scope.expired())
            raise

    def call_with_deadline(
        self, started: float, timeout: float | None, function: Callable[..., Any], *args: Any
    ) -> Any:
        """Run a sync call in a thread and leave it at the deadline: it cannot be cancelled.

        Raises:
            DeadlineExceededError: If the deadline passed.
        """
        if timeout is None and self._policy.has_no_cutoff:
            return function(*args)
        self._raise_if_expired(started, timeout)
        future = run_in_thread(function, *args)
        future.add_done_callback(self._notify_waiters)
        with self._changed:
            while not future.done():
                deadline = self._raise_if_expired(started, timeout)
                self._changed.wait(deadline and deadline.expires_at - monotonic())
        try:
            return future.result()
        except Exception as error:
            self._report_expiry(error, started, timeout)
            raise

    async def acall_with_deadline(
        self,
        started: float,
        timeout: float | None,
        function: Callable[..., Awaitable[Any]],
        *args: Any,
    ) -> Any:
        """Await a call, and cancel it at the deadline.

        Raises:
            DeadlineExceededError: If the deadline passed.
        """
        async with self.cancel_after(started, timeout):
            return await function(*args)

    def call_starter(
        self,
        model: Runnable[Any, Any],
        timeout: float | None,
        *args: Any,
        started: float | None = None,
    ) -> Callable[[Any], Step]:
        """Return a function that creates the step that calls a model with an input.

        All steps together share the timeout, which starts at `started`, by default now.
        """
        started = monotonic() if started is None else started

        def start_call(model_input: Any) -> Step:
            return Step(
                partial(self.call_with_deadline, started, timeout, model.invoke),
                partial(self.acall_with_deadline, started, timeout, model.ainvoke),
                (model_input, *args),
            )

        return start_call

    def _report_expiry(
        self, error: Exception, started: float, timeout: float | None, *, is_cancelled: bool = False
    ) -> None:
        """Raise `DeadlineExceededError` for a timeout error if the deadline has passed.

        The client has the timeout of the agent too, and may notice first that it is over.
        """
        limit = self.call_deadline(started, timeout)
        is_over = limit is not None and (is_cancelled or limit.expires_at <= monotonic())
        if limit and is_over and _is_timeout_error(error):
            raise DeadlineExceededError(limit.reason) from error

    def _raise_if_expired(self, started: float, timeout: float | None) -> CallDeadline | None:
        deadline = self.call_deadline(started, timeout)
        if deadline and deadline.expires_at <= monotonic():
            raise DeadlineExceededError(deadline.reason)
        return deadline

    def _notify_waiters(self, _: Future[Any]) -> None:
        with self._changed:
            self._changed.notify_all()


def _is_timeout_error(error: Exception) -> bool:
    """Return whether an error is a timeout of a client, such as `APITimeoutError`."""
    return any("Timeout" in kind.__name__ for kind in type(error).__mro__)


@contextmanager
def enter_layer(
    layer: int, policy: LayerPolicy, *, proposer_count: int, answered: int
) -> Iterator[LayerDeadline]:
    """Join the shared deadline of the running layer; the first proposer creates it.

    Args:
        layer: Number of the layer.
        policy: Policy of the layer.
        proposer_count: Number of proposers.
        answered: Number of proposers that have answered and do not run now.
    """
    layer_deadline = LayerDeadline(
        policy,
        unfinished=proposer_count - answered,
        required_answers=max(1, policy.required_answers(proposer_count) - answered),
    )
    key = (layer, *superstep_key())
    if (existing := _layer_deadlines.get(key)) and existing.is_abandoned:
        _layer_deadlines[key] = existing.restarted()
    layer_deadline = _layer_deadlines.setdefault(key, layer_deadline)
    layer_deadline.proposer_started()
    while len(_layer_deadlines) > _MAX_LAYER_DEADLINES:
        _layer_deadlines.popitem(last=False)
    stopped = True
    try:
        yield layer_deadline
        stopped = False
    finally:
        if layer_deadline.proposer_finished(stopped=stopped):
            _layer_deadlines.pop(key, None)


def superstep_key() -> tuple[str | None, ...]:
    """Return a key that only the proposers of one superstep share."""
    try:
        info = get_runtime().execution_info
    except RuntimeError:  # a node that is called outside a graph runs alone
        return (uuid4().hex,)
    try:
        loop = str(id(asyncio.get_running_loop()))
    except RuntimeError:
        loop = None
    return (info.thread_id, info.checkpoint_id, loop) if info else (loop,)
