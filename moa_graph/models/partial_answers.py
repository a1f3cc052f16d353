"""What a call brought that failed: a part of an answer, and the tokens that it took."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from moa_graph.errors import MoAError

_ATTRIBUTE = "moa_partial_answer"
_MAX_CAUSES = 10  # errors of a chain that are looked at


class PartialAnswer(NamedTuple):
    """What came before a call failed."""

    text: str
    """The beginning of an answer, or nothing."""
    usage: Mapping[str, Any] | None
    """Tokens, as LangChain's `UsageMetadata`; `None` if the provider did not say."""
    finish_reason: str | None = None
    """Why the model stopped, in its provider's word, if it said so."""


class UnfinishedAnswerError(MoAError):
    """An answer ended in an error, before its end, or without a text."""


def attach_partial_answer(error: BaseException, partial: PartialAnswer) -> None:
    """Note on an error what came before it; it keeps its type and its cause."""
    with suppress(AttributeError):  # one that takes no further attributes
        setattr(error, _ATTRIBUTE, partial)


def find_partial_answer(error: BaseException) -> PartialAnswer | None:
    """Find what was noted on an error, or on one that caused it."""
    link: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if link is None:
            return None
        if isinstance(partial := getattr(link, _ATTRIBUTE, None), PartialAnswer):
            return partial
        link = link.__cause__ or link.__context__
    return None
