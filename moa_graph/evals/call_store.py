"""The call store: every paid call is stored once and never repeated.

A model that a `CallStore` wraps looks for a stored answer first, and returns the original message.
Therefore a process that was killed repeats no call with a stored answer, and systems share equal
calls. Failures are stored too, but the call is repeated. Keys, headers and options are not stored,
only their hash.
"""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter, sleep, time
from typing import Any, Self

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    convert_to_messages,
    message_to_dict,
)
from langchain_core.messages.utils import messages_from_dict
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig

from moa_graph.errors import MoAError
from moa_graph.evals.call_claims import CallClaims
from moa_graph.evals.call_table import CallOutcome, CallTable
from moa_graph.graph.failed_calls import may_be_billed
from moa_graph.models.adapt import find_api_keys
from moa_graph.models.legacy_request_keys import legacy_call_store_key
from moa_graph.models.model_wrapper import ModelWrapper
from moa_graph.models.partial_answers import find_partial_answer
from moa_graph.models.pricing import is_free_model
from moa_graph.models.providers import provider_of
from moa_graph.models.request_key import request_key
from moa_graph.prompting import parsing
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.usage import clean_usage
from moa_graph.redaction import redacted_message
from moa_graph.runs.model_calls import CallRecord, report_call
from moa_graph.sync_async import Flow, Step, run_async, run_sync

_CLAIM_POLL_S = 0.2  # seconds between checks whether another process has completed a call


class CallError(MoAError):
    """A model call failed; the message says why, without keys."""

    status_code: int | None = None
    """HTTP status of the server, if known."""


class CallStore:
    """The calls of a comparison, in a file. Close it, or use it as a context manager.

    Args:
        path: The file; it is created with its folder if missing. Several processes may use it at
            the same time.

    Raises:
        ValueError: If the file is not a call store, or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._pending_calls: dict[str, Future[CallOutcome | None]] = {}
        self._write_error: str | None = None
        self._table = CallTable(self.path)
        try:
            self._claims = CallClaims(self.path.with_name(f"{self.path.name}-claims"))
        except OSError as error:
            self._table.close()
            raise ValueError(f"{self.path}: cannot be used as a call store: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._table.close()
        self._claims.close()

    def wrap(
        self,
        runnable: Runnable[Any, Any],
        label: str,
        options: Mapping[str, Any] | None = None,
        sample: int = 1,
        check: Callable[[AIMessage], object] | None = None,
    ) -> "RecordedRunnable":
        """Wrap a model so that it looks for stored answers.

        If another task, thread or process is making the same call, this one waits for it. Models
        without cost (`offline:`, `recorded:`) are called each time.

        Args:
            runnable: A runnable from messages to an `AIMessage`.
            label: Its name: `provider:model`.
            options: Everything besides the messages that changes an answer: `temperature`,
                `max_tokens`, `base_url`, bound arguments.
            sample: Distinguishes several answers to one request.
            check: Raises an exception for an invalid answer. The call then failed, and is repeated
                in the next run; its tokens count.

        Returns:
            A similar runnable; a failed call raises `CallError`.
        """
        return RecordedRunnable(self, runnable, label, dict(options or {}), sample, check=check)

    def reserve(
        self, key: str, label: str, legacy_key: str | None = None
    ) -> tuple[Future[CallOutcome | None] | None, bool]:
        """Return the outcome of a call, or claim the call.

        Args:
            key: The key of the call.
            label: The model.
            legacy_key: Its key in a call store of 0.1, which may also contain the answer.

        Returns:
            A future for the outcome, and whether the caller must make the call. An outcome of
            `None` means that the other caller gave up. A future of `None` means that another
            process is making the call.
        """
        with self._lock:
            if self._write_error:
                raise CallError(self._write_error)
            if outcome := self._find_answer(key, legacy_key):
                return _finished_future(outcome), False
            if key in self._pending_calls:
                return self._pending_calls[key], False
            if not is_free_model(label):
                if not self._claims.acquire(key):
                    return None, False
                if outcome := self._find_answer(key, legacy_key):  # completed meanwhile
                    self._claims.release(key)
                    return _finished_future(outcome), False
            self._pending_calls[key] = Future()
            return self._pending_calls[key], True

    def _find_answer(self, key: str, legacy_key: str | None) -> CallOutcome | None:
        outcome = self._table.find_answer(key)
        return outcome or (self._table.find_answer(legacy_key) if legacy_key else None)

    def complete(self, key: str, outcome: CallOutcome | None, label: str, sample: int) -> None:
        """Store the outcome of a call, and pass it to the waiting callers."""
        with self._lock:
            try:
                if outcome and not is_free_model(label):
                    self._table.write_outcome(key, outcome, label, sample)
            except sqlite3.Error as error:  # answers that cannot be stored must not be paid for
                self._write_error = f"{self.path}: cannot be written: {error}"
                outcome = outcome and outcome._replace(error=self._write_error)
            if not is_free_model(label):
                self._claims.release(key)
            self._pending_calls.pop(key).set_result(outcome)


@dataclass
class CallAttempt:
    """A running call."""

    secrets: list[str]
    """API keys, for redaction."""
    check: Callable[[AIMessage], object] | None = None
    started: float = field(default_factory=time)
    clock: float = field(default_factory=perf_counter)
    message: str = ""
    usage: dict[str, Any] | None = None

    def read_answer(self, output: Any) -> None:
        """Record the output of the model.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it has the wrong type.
        """
        message = parsing.to_message(output)
        self.usage = parsing.sum_usage(output)
        content = strip_thoughts(message.text) or message.tool_calls
        has_content = content or message.response_metadata.get("logprobs")
        parsing.check_answer(message, "some" if has_content else "")
        if message is not output:
            message = message.model_copy(update={"usage_metadata": self.usage})
        if self.check:
            self.check(message)
        self.message = json.dumps(message_to_dict(message), default=str)

    def to_outcome(self, error: BaseException | None = None) -> CallOutcome:
        """Return the outcome."""
        seconds = round(perf_counter() - self.clock, 3)
        partial = find_partial_answer(error) if error else None
        usage = self.usage or (clean_usage(partial.usage) if partial else None)
        return CallOutcome(
            self.message,
            self._describe_error(error) if error else None,
            usage,
            round(self.started, 3),
            seconds,
            may_be_billed=bool(error and not usage and _is_billed(error)),
            status_code=getattr(error, "status_code", None),
        )

    def _describe_error(self, error: BaseException) -> str:
        is_cut_off = isinstance(error, asyncio.CancelledError)
        return "cut off" if is_cut_off else redacted_message(error, *self.secrets)


class RecordedRunnable(ModelWrapper):
    """A model whose answers are stored in a call store."""

    def __init__(
        self,
        call_store: CallStore,
        bound: Runnable[Any, Any],
        label: str,
        options: dict[str, Any],
        sample: int,
        *,
        check: Callable[[AIMessage], object] | None = None,
    ) -> None:
        self._call_store, self.wrapped = call_store, bound
        self.name = self._label = label
        self._options, self._sample, self._check = options, sample, check

    def rewrap(self, model: Runnable[Any, Any], options: Mapping[str, Any]) -> Self:
        """Wrap the model with options, whose calls have their own keys."""
        return type(self)(
            self._call_store,
            model,
            self._label,
            {**self._options, **options},
            self._sample,
            check=self._check,
        )

    @property
    def profile(self) -> Any:
        """The model profile, such as the context length."""
        return getattr(self.wrapped, "profile", None)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """Return the stored answer, or call the model.

        Raises:
            CallError: If the call fails.
        """
        return run_sync(self._call_once(input, config, kwargs))

    async def ainvoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return the stored answer, or call the model.

        Raises:
            CallError: If the call fails.
        """
        return await run_async(self._call_once(input, config, kwargs))

    def _call_once(
        self, prompt: Any, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> Flow[AIMessage]:
        """Make the call, unless its answer is stored or another caller is making it."""
        key, legacy_key = self._request_keys(prompt, kwargs)
        invoke, ainvoke = (
            partial(self.wrapped.invoke, **kwargs),
            partial(self.wrapped.ainvoke, **kwargs),
        )
        while True:
            future, is_owner = self._call_store.reserve(key, self._label, legacy_key)
            if future is None:  # other processes send no events
                yield Step(sleep, asyncio.sleep, (_CLAIM_POLL_S,))
                continue
            if is_owner:
                with self._record_attempt(key, config) as attempt:
                    attempt.read_answer((yield Step(invoke, ainvoke, (prompt, config))))
            if outcome := (yield Step(future.result, partial(_await_outcome, future))):
                return self._deliver_outcome(outcome, config, from_store=not is_owner)

    def _request_keys(self, prompt: Any, call_options: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the key of a call, and its key of 0.1."""
        messages = _to_messages(prompt)
        target = [self._label, self._options, call_options]
        legacy_key = legacy_call_store_key(
            self._label, self._options, call_options, messages, self._sample
        )
        return request_key(target, messages, self._sample), legacy_key

    @contextmanager
    def _record_attempt(self, key: str, config: RunnableConfig | None) -> Iterator[CallAttempt]:
        attempt, outcome = CallAttempt(find_api_keys(self.wrapped), self._check), None
        try:
            yield attempt
            outcome = attempt.to_outcome()
        except Exception as error:  # noqa: BLE001  # it is written down, and raised as a CallError
            outcome = attempt.to_outcome(error)
        except asyncio.CancelledError as error:  # not stored, because the call may continue
            self._report_outcome(attempt.to_outcome(error), config)
            raise
        finally:
            self._call_store.complete(key, outcome, self._label, self._sample)

    def _deliver_outcome(
        self, outcome: CallOutcome, config: RunnableConfig | None, *, from_store: bool
    ) -> AIMessage:
        message = self._report_outcome(outcome, config, from_store=from_store)
        if message is None:
            error = CallError(outcome.error)
            error.status_code = outcome.status_code
            raise error
        return message

    def _report_outcome(
        self, outcome: CallOutcome, config: RunnableConfig | None, *, from_store: bool = False
    ) -> AIMessage | None:
        """Report the call to listeners, and return the answer or raise."""
        message = None if outcome.error else messages_from_dict([json.loads(outcome.message)])[0]
        record = CallRecord(
            label=self._label,
            sample=self._sample,
            node=((config or {}).get("metadata") or {}).get("langgraph_node"),
            message=message if isinstance(message, AIMessage) else None,
            error=outcome.error,
            usage=getattr(message, "usage_metadata", None) or outcome.usage,
            started=outcome.started,
            seconds=outcome.seconds,
            from_store=from_store or provider_of(self._label).replays_files,
            may_be_billed=outcome.may_be_billed,
        )
        report_call(record)
        return record.message


def _is_billed(error: BaseException) -> bool:
    """Return whether a model may have worked before its call failed or was cut off."""
    return isinstance(error, asyncio.CancelledError) or may_be_billed(error)


def _finished_future(outcome: CallOutcome) -> Future[CallOutcome | None]:
    future = Future[CallOutcome | None]()
    future.set_result(outcome)
    return future


async def _await_outcome(future: Future[CallOutcome | None]) -> CallOutcome | None:
    """Await a shared call: a cancelled waiter does not cancel it."""
    return await asyncio.shield(asyncio.wrap_future(future))


def _to_messages(prompt: Any) -> Sequence[BaseMessage]:
    if isinstance(prompt, PromptValue):
        return prompt.to_messages()
    return [HumanMessage(prompt)] if isinstance(prompt, str) else convert_to_messages(prompt)
