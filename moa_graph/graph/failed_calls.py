"""What a failed call brought, and what it may cost."""

from typing import Any

from typing_extensions import TypedDict  # Python 3.11's own has no JSON schema

from moa_graph.graph.deadlines import DeadlineExceededError
from moa_graph.models.partial_answers import UnfinishedAnswerError, find_partial_answer
from moa_graph.prompting.parsing import EmptyAnswerError, FailedAnswerError
from moa_graph.prompting.refusals import describe_remedy
from moa_graph.redaction import redacted_message

_ANSWER_ERRORS = (DeadlineExceededError, EmptyAnswerError, FailedAnswerError, UnfinishedAnswerError)
_NOT_CONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
_NOT_ANSWERED = (  # by name: each client has its own
    *("APITimeoutError", "ReadTimeout", "ReadError", "RemoteProtocolError", "TimeoutError"),
    *("StreamChunkTimeoutError", "ReadTimeoutError", "ServerDisconnectedError"),
    "ResponseTooLargeError",
)
_MAX_CAUSES = 10  # errors of a chain that are looked at


class FailedCall(TypedDict):
    """A call of an aggregator or fallback that another one had to take the place of."""

    node: str
    """Who was asked: `aggregator`, `fallback_1`, …"""
    model: str
    """What was asked: `provider:model`, or the name of a runnable."""
    error: str
    """Why there is no answer."""
    partial_content: str
    """What there was of an answer; empty if nothing."""
    finish_reason: str | None
    """Why the model stopped, in its provider's word."""
    usage: dict[str, Any] | None
    """Tokens, as LangChain's `UsageMetadata`; `None` if the model did not say."""
    may_be_billed: bool
    """Whether it may have cost tokens of which nobody said how many."""
    started: float
    """When the call began, in seconds since 1970."""
    seconds: float
    """Wall time of the call."""


def describe_failure(error: BaseException, *keys: str) -> str:
    """Say without keys why there is no answer, whether it had begun, and how to go on."""
    remedy = describe_remedy(error)
    text = "; ".join(filter(None, [redacted_message(error, *keys), remedy]))
    partial = find_partial_answer(error)
    if not partial or not partial.text or isinstance(error, _ANSWER_ERRORS):
        return text
    return f"the answer broke off after {len(partial.text):,} characters: {text}"


def may_be_billed(error: BaseException) -> bool:
    """Tell whether a model may have been at work when its call failed."""
    if isinstance(error, _ANSWER_ERRORS) or find_partial_answer(error):
        return True
    names, link = list[str](), error
    while link is not None and len(names) < _MAX_CAUSES:
        names.append(type(link).__name__)
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    is_connected = not any(name in _NOT_CONNECTED for name in names)
    return is_connected and any(name in _NOT_ANSWERED for name in names)
