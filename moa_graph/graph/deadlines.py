"""How long a call may take: its own timeout, its layer's deadline, and what stragglers get.

The proposers of a layer that run at the same time find each other here, in this process, by the
checkpoint that they all started from. Nothing of it is stored: the time of a resumed layer begins
anew, and only in the process that ran it before do the answers it already has count.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from langgraph.runtime import get_runtime

from moa_graph.graph.policy import Rules

_MOST_RACES = 4096  # those of killed and partly resumed layers stay until newer ones push them out
_races: "OrderedDict[tuple[Any, ...], Race]" = OrderedDict()


class CutOffError(TimeoutError):
    """A call took longer than it may."""


class Limit(NamedTuple):
    """When a call is cut off, and why."""

    when: float
    reason: str


class Race:
    """The proposers of one layer that run at the same time."""

    def __init__(self, rules: Rules, *, runners: int, needed: int) -> None:
        self._rules, self._started = rules, monotonic()
        self._runners, self._needed = runners, needed
        self._running, self._stopped = 0, False
        self._quorum_at: float | None = None if needed > 0 else monotonic()
        self._changed = threading.Condition()
        self._waiting: dict[asyncio.Timeout, Callable[[], float | None]] = {}

    def answer(self) -> None:
        """Count an answer. With the last that the quorum needs, the grace of the others begins."""
        if self._rules.grace is None:
            return  # nobody waits for the quorum
        with self._changed:
            self._needed -= 1
            if self._needed == 0:
                self._quorum_at = monotonic()
                self._changed.notify_all()
        for scope, when in self._waiting.items():
            if not scope.expired():
                scope.reschedule(when())

    def enter(self) -> None:
        """Count a runner that begins."""
        with self._changed:
            self._running += 1

    def leave(self, *, stopped: bool) -> bool:
        """Count a runner that is through, and tell whether it was the last."""
        with self._changed:
            self._running -= 1
            self._runners -= not stopped
            self._stopped |= stopped
            return self._runners <= 0

    def again(self) -> "Race":
        """Begin anew, for those who are left when a stopped run is resumed."""
        return Race(self._rules, runners=self._runners, needed=self._needed)

    @property
    def over(self) -> bool:
        """Whether the run was stopped, by a cancellation or for a human."""
        return self._stopped and self._running == 0

    def limit(self, started: float, timeout: float | None) -> Limit | None:
        """Find the first moment at which a call that started then is cut off."""
        rules, limits = self._rules, list[Limit]()
        if timeout is not None:
            limits.append(
                Limit(started + timeout, f"no answer within its timeout of {timeout:g} s")
            )
        if rules.deadline is not None:
            reason = f"cut off by the layer's deadline of {rules.deadline:g} s"
            limits.append(Limit(self._started + rules.deadline, reason))
        if rules.grace is not None and self._quorum_at is not None:
            reason = f"cut off: the quorum was in, and the grace of {rules.grace:g} s over"
            limits.append(Limit(max(self._quorum_at, started) + rules.grace, reason))
        return min(limits, default=None)

    @asynccontextmanager
    async def cutting_off(self, timeout: float | None) -> AsyncIterator[None]:
        """Cancel what runs inside when its time is over.

        Raises:
            CutOffError: If it was.
        """
        if timeout is None and self._rules.wait_for_all:
            yield
            return
        started, loop = monotonic(), asyncio.get_running_loop()

        def when() -> float | None:
            limit = self.limit(started, timeout)
            return loop.time() + limit.when - monotonic() if limit else None

        self._check(started, timeout)
        scope = asyncio.timeout_at(when())
        try:
            async with scope:
                self._waiting[scope] = when
                try:
                    yield
                finally:
                    del self._waiting[scope]
        except TimeoutError:
            if scope.expired() and (limit := self.limit(started, timeout)):
                raise CutOffError(limit.reason) from None
            raise

    def call(self, timeout: float | None, function: Callable[..., Any], *args: Any) -> Any:
        """Call in a thread, and go on without it when its time is over: it cannot be cancelled.

        Raises:
            CutOffError: If its time was over.
        """
        if timeout is None and self._rules.wait_for_all:
            return function(*args)
        started = monotonic()
        self._check(started, timeout)
        future = in_thread(function, *args)
        future.add_done_callback(self._notify)
        with self._changed:
            while not future.done():
                limit = self._check(started, timeout)
                self._changed.wait(limit and limit.when - monotonic())
        return future.result()

    def _check(self, started: float, timeout: float | None) -> Limit | None:
        limit = self.limit(started, timeout)
        if limit and limit.when <= monotonic():
            raise CutOffError(limit.reason)
        return limit

    def _notify(self, _: Future[Any]) -> None:
        with self._changed:
            self._changed.notify_all()


@contextmanager
def join(layer: int, rules: Rules, *, asked: int, answered: int) -> Iterator[Race]:
    """Take part in the race of the layer that is running; the first proposer begins it.

    Args:
        layer: Number of the layer.
        rules: How long it waits.
        asked: How many proposers it has.
        answered: How many of them answered before, and do not run now.
    """
    race = Race(rules, runners=asked - answered, needed=max(1, rules.needed(asked) - answered))
    name = (layer, *_place())
    if (begun := _races.get(name)) and begun.over:
        _races[name] = begun.again()
    race = _races.setdefault(name, race)
    race.enter()
    while len(_races) > _MOST_RACES:
        _races.popitem(last=False)
    stopped = True
    try:
        yield race
        stopped = False
    finally:
        if race.leave(stopped=stopped):
            _races.pop(name, None)


def _place() -> tuple[str | None, ...]:
    """Name what proposers of one superstep have in common, and others have not."""
    try:
        info = get_runtime().execution_info
    except RuntimeError:  # a node that its user calls by itself has no others beside it
        return (uuid4().hex,)
    try:
        loop = str(id(asyncio.get_running_loop()))
    except RuntimeError:
        loop = None
    return (info.thread_id, info.checkpoint_id, loop) if info else (loop,)


def in_thread(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Call in a thread of its own, which the end of the process does not wait for."""
    future: Future[Any] = Future()
    context = copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(function, *args))
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
            future.set_exception(error)

    future.set_running_or_notify_cancel()  # from here on nobody can cancel it
    threading.Thread(target=run, name="moa", daemon=True).start()
    return future
