"""Hedged requests: repeat a call that has returned nothing for some seconds.

At most two requests are in flight. The first one that streams a token wins. The other call is
cancelled together with its connection. A sync call cannot be cancelled: it stays in its thread, or
ends at its own first token.
"""

import asyncio
import concurrent.futures
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from functools import partial
from typing import Any, Generic, TypeVar

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.runnables import RunnableConfig

from moa_graph.background_thread import run_in_thread
from moa_graph.graph.failed_calls import may_be_billed
from moa_graph.models.partial_answers import find_partial_answer
from moa_graph.prompting import parsing
from moa_graph.prompting.usage import clean_usage
from moa_graph.sync_async import Flow, Step, run_async, run_sync


class OvertakenError(BaseException):
    """Ends a call at its first token, because the other call had its first token before."""


class Request(ABC):
    """One of at most two requests for the same answer, and its outcome."""

    output: Any = None
    error: BaseException | None = None
    is_done = False

    @abstractmethod
    def ask(self, config: RunnableConfig) -> Flow[Any]:
        """Send the request."""

    @abstractmethod
    def check_output(self, output: Any) -> None:
        """Reject an output that is not an answer."""

    @property
    def has_answered(self) -> bool:
        """Whether there is a valid answer."""
        if not self.is_done or self.error is not None:
            return False
        try:
            self.check_output(self.output)
        except Exception:  # noqa: BLE001  # who reads the output tells what is wrong with it
            return False
        return True

    @property
    def usage(self) -> dict[str, Any] | None:
        """Tokens of the request, as far as they are known."""
        if self.output is not None:
            return parsing.sum_usage(self.output)
        if self.error is None:
            return None
        partial = find_partial_answer(self.error)
        return clean_usage(partial.usage) if partial else None

    @property
    def may_be_billed(self) -> bool:
        """Whether the request may have cost an unknown number of tokens."""
        if self.usage:
            return False
        return not isinstance(self.error, Exception) or may_be_billed(self.error)

    def take_answer(self, config: RunnableConfig) -> Flow[None]:
        """Send the request, and store its outcome."""
        try:
            self.output = yield from self.ask(config)
        except (Exception, asyncio.CancelledError, OvertakenError) as error:  # noqa: BLE001  # who reads it tells it
            self.error = error
        self.is_done = True


R = TypeVar("R", bound=Request)


class Hedge(Generic[R]):
    """A request, and the second one that is sent if the first returns nothing for a while."""

    def __init__(
        self, primary: R, make_second: Callable[[], R], seconds: float | None = None
    ) -> None:
        self.requests: list[R] = [primary]
        self._make_second, self._seconds = make_second, seconds
        self._futures: list[Any] = []  # concurrent futures in a sync run, else tasks
        self._leader: R | None = None
        self._lock, self._led = threading.Lock(), Future[None]()

    @property
    def winner(self) -> R:
        """The request that has answered; if none has, the one whose failure is reported."""
        complete = (each for each in self.requests if each.is_done and each.error is None)
        return self._leader or next(complete, self.requests[0])

    @property
    def others(self) -> Sequence[R]:
        """The request that did not win, if there is one."""
        return [each for each in self.requests if each is not self.winner]

    def run(self, config: RunnableConfig) -> Flow[None]:
        """Send the requests until one has answered or all have failed."""
        if self._seconds is None:
            yield from self.requests[0].take_answer(config)
            return
        try:
            yield self._start(self.requests[0], config)
            yield self._wait(self._seconds)
            if self._is_open:
                self.requests.append(self._make_second())
                yield self._start(self.requests[1], config)
            while self._is_open:
                yield self._wait(None)
            if self._leader:
                yield self._finish(self._futures[self.requests.index(self._leader)])
        finally:
            yield self._finish(None)

    def lead(self, request: R) -> None:
        """Record the first token, or the answer, of a request.

        Raises:
            OvertakenError: If the other request was first.
        """
        with self._lock:
            if self._leader is None:
                self._leader = request
                if not self._led.done():
                    self._led.set_result(None)
        if self._leader is not request:
            raise OvertakenError

    @property
    def _is_open(self) -> bool:
        return self._leader is None and not all(each.is_done for each in self.requests)

    def _start(self, request: R, config: RunnableConfig) -> Step:
        handler = _FirstTokenHandler(partial(self.lead, request))
        flow = self._take_answer(request, _add_handler(config, handler))

        def start() -> None:
            self._futures.append(run_in_thread(run_sync, flow))

        async def astart() -> None:
            self._futures.append(asyncio.ensure_future(run_async(flow)))

        return Step(start, astart)

    def _take_answer(self, request: R, config: RunnableConfig) -> Flow[None]:
        try:
            yield from request.take_answer(config)
            if request.has_answered:
                self.lead(request)
        except OvertakenError as error:
            request.error = error

    def _wait(self, seconds: float | None) -> Step:
        """Wait until a request is done or has its first token."""

        def wait() -> None:
            concurrent.futures.wait([self._led, *self._running()], seconds, FIRST_COMPLETED)

        async def await_first() -> None:
            waited = [asyncio.wrap_future(self._led), *self._running()]
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

        return Step(wait, await_first)

    def _finish(self, future: Any) -> Step:
        """Wait for one request, if any, after all others are cancelled and disconnected."""

        def wait() -> None:
            if future:
                concurrent.futures.wait([future])

        async def cancel_others() -> None:
            running = self._running()
            for task in running:
                if task is not future:
                    task.cancel()
            if running:
                await asyncio.wait(running)

        return Step(wait, cancel_others)

    def _running(self) -> list[Any]:
        return [each for each in self._futures if not each.done()]


class _FirstTokenHandler(BaseCallbackHandler):
    """Reports the first token of an answer before other handlers receive it."""

    run_inline = True

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        """Report a chunk with content; some servers send an empty one first."""
        message = getattr(chunk, "message", None)
        names = ("content", "tool_call_chunks", "additional_kwargs")
        if token or any(getattr(message, name, None) for name in names):
            self._tell()

    def on_stream_event(self, event: Any, **_: Any) -> None:
        """Report an event with content."""
        if event.get("event") == "content-block-delta":
            self._tell()


def _add_handler(config: RunnableConfig, handler: BaseCallbackHandler) -> RunnableConfig:
    """Insert a handler before those of a config."""
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, BaseCallbackManager):
        return {**config, "callbacks": [handler, *(callbacks or ())]}
    manager = callbacks.copy()
    manager.handlers = [handler, *manager.handlers]
    manager.inheritable_handlers = [handler, *manager.inheritable_handlers]
    return {**config, "callbacks": manager}
