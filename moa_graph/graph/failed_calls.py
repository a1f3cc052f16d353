"""Failed calls: their partial answers, tokens and possible costs."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.deadlines import DeadlineExceededError
from moa_graph.models.partial_answers import UnfinishedAnswerError, find_partial_answer
from moa_graph.prompting.parsing import EmptyAnswerError, FailedAnswerError
from moa_graph.prompting.refusals import describe_remedy
from moa_graph.redaction import redacted_message

_ANSWER_ERRORS = (DeadlineExceededError, EmptyAnswerError, FailedAnswerError, UnfinishedAnswerError)
_NOT_CONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
_NOT_ANSWERED = (  # by name: each client defines its own
    *("APITimeoutError", "ReadTimeout", "ReadError", "RemoteProtocolError", "TimeoutError"),
    *("StreamChunkTimeoutError", "ReadTimeoutError", "ServerDisconnectedError"),
    "ResponseTooLargeError",
)
_MAX_CAUSES = 10  # length of a cause chain to inspect


class FailedCall(TypedDict):
    """A failed call of an aggregator or fallback that another one replaced.

    Attributes:
        node: Node that was called: `aggregator`, `fallback_1`, …
        model: Model that was called: `provider:model`, or the name of a runnable.
        error: Cause of the failure.
        partial_content: Partial text of the answer; empty if there is none.
        finish_reason: Finish reason as the provider reports it.
        usage: Tokens as LangChain's `UsageMetadata`; `None` if the model did not report them.
        may_be_billed: Whether the call may have cost an unknown number of tokens.
        started: When the call began, in seconds since 1970.
        seconds: Wall time of the call.
        error_type: Class of the failure, as in `Proposal`; absent if an earlier version stored the
            call.
    """

    node: str
    model: str
    error: str
    partial_content: str
    finish_reason: str | None
    usage: dict[str, Any] | None
    may_be_billed: bool
    started: float
    seconds: float
    error_type: NotRequired[str]


EARLIER_CALLS_KEY = "moa_failed_calls"
"""Key in `configurable` of a resumed run: the calls that failed before."""


def describe_failure(error: BaseException, *keys: str) -> str:
    """Describe without keys why a call failed, how much it had answered, and the remedy."""
    remedy = describe_remedy(error)
    text = "; ".join(filter(None, [redacted_message(error, *keys), remedy]))
    partial = find_partial_answer(error)
    if not partial or not partial.text or isinstance(error, _ANSWER_ERRORS):
        return text
    return f"the answer broke off after {len(partial.text):,} characters: {text}"


def classify_failure(error: BaseException) -> str:
    """Return the class of a failure: the HTTP status, or the type of the error."""
    status = getattr(error, "status_code", None)
    return str(status) if isinstance(status, int) else type(error).__name__


_writer_errors: ContextVar[MutableMapping[str, Exception] | None] = ContextVar(
    "_writer_errors", default=None
)


@contextmanager
def collect_writer_errors(errors: MutableMapping[str, Exception]) -> Iterator[None]:
    """Collect the errors of each aggregator of a run in this context, by node."""
    token = _writer_errors.set(errors)
    try:
        yield
    finally:
        _writer_errors.reset(token)


def note_writer_error(node: str, error: Exception) -> None:
    """Add the error of an aggregator to the collected ones: a state holds only its text."""
    if (errors := _writer_errors.get()) is not None:
        errors[node] = error


def may_be_billed(error: BaseException) -> bool:
    """Return whether a model may have worked before its call failed."""
    if isinstance(error, _ANSWER_ERRORS) or find_partial_answer(error):
        return True
    names, link = list[str](), error
    while link is not None and len(names) < _MAX_CAUSES:
        names.append(type(link).__name__)
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    is_connected = not any(name in _NOT_CONNECTED for name in names)
    return is_connected and any(name in _NOT_ANSWERED for name in names)
