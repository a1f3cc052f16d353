"""Partial answers and tokens of failed calls."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from moa_graph.errors import MoAError

_ATTRIBUTE = "moa_partial_answer"
_MAX_CAUSES = 10  # length of a cause chain to inspect


class PartialAnswer(NamedTuple):
    """The partial answer of a failed call."""

    text: str
    """Text of the partial answer; may be empty."""
    usage: Mapping[str, Any] | None
    """Tokens as LangChain's `UsageMetadata`; `None` if the provider did not report them."""
    finish_reason: str | None = None
    """Finish reason as the provider reports it; `None` if it did not."""


class UnfinishedAnswerError(MoAError):
    """An answer ended in an error, too early, or without a text."""


def attach_partial_answer(error: BaseException, partial: PartialAnswer) -> None:
    """Attach the partial answer to an error, which keeps its type and cause."""
    with suppress(AttributeError):  # errors without a `__dict__`
        setattr(error, _ATTRIBUTE, partial)


def find_partial_answer(error: BaseException) -> PartialAnswer | None:
    """Return the partial answer attached to an error or one of its causes."""
    link: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if link is None:
            return None
        if isinstance(partial := getattr(link, _ATTRIBUTE, None), PartialAnswer):
            return partial
        link = link.__cause__ or link.__context__
    return None
