"""`StoredThread`: a thread as its last checkpoint describes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from langchain_core.messages import AIMessage, AnyMessage

from moa_graph.config.model import MoAConfig
from moa_graph.graph.turns import unanswered_messages
from moa_graph.models.providers import provider_of
from moa_graph.prompting.finish_reasons import name_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.runs.database_errors import StoreError
from moa_graph.runs.record import first_question, last_question


@dataclass(frozen=True)
class StoredThread:
    """A thread, read from its last checkpoint."""

    id: str
    updated_at: datetime
    messages: list[AnyMessage]
    config: MoAConfig | None
    """The mixture; `None` if the thread belongs to another program, or its configuration cannot be
    read."""
    failed_nodes: Sequence[str]
    """Nodes that have not answered the last question."""
    stop_cause: Literal["failed", "interrupted"] | None
    """Why its last run stopped: an error or an interruption; `None` if it completed, is running, or
    was killed."""
    is_damaged: bool = False
    """Whether its stored data cannot be read."""
    given_title: str | None = None
    """Title set by a person."""

    @property
    def status_text(self) -> str:
        """Status of its last question in words."""
        if self.is_damaged:
            return "damaged"
        if self.is_finished and not self.messages:
            return "empty"
        ended = self._answered_text if self.is_finished else self.stop_cause or "unfinished"
        return (
            f"{ended}, {len(self.failed_nodes)} failed"
            if self.failed_nodes and ended != "failed"
            else ended
        )

    @property
    def _answered_text(self) -> str:
        """Status of an answered question, with a note about an incomplete answer."""
        last = self.messages[-1]
        reason = read_finish_reason(last) if isinstance(last, AIMessage) else None
        ending = name_ending(reason)
        word = "quoted" if self._has_no_language_model else "answered"
        return f"{word}, {ending}" if ending else word

    @property
    def _has_no_language_model(self) -> bool:
        """Whether its mixture has only `offline:` agents, which quote."""
        labels = self.config.labels() if self.config else ()
        return bool(labels) and not any(provider_of(each).is_language_model for each in labels)

    @property
    def is_finished(self) -> bool:
        """Whether its last question is answered, or there is none."""
        return not unanswered_messages(self.messages)

    @property
    def question(self) -> str:
        """The last question, without attachments."""
        return last_question(self.messages)

    @property
    def title(self) -> str:
        """Its title, or the first question without attachments."""
        return self.given_title or first_question(self.messages)


def describe_missing_question(thread: StoredThread) -> str:
    """Return the message for a thread without a question."""
    if thread.messages:
        return f"thread {thread.id!r} was stopped before its question was stored"
    return f"thread {thread.id!r} has no question"


def require_config(thread: StoredThread) -> MoAConfig:
    """Return the mixture of a thread.

    Raises:
        StoreError: If it is unknown.
    """
    if thread.config is None:
        raise StoreError(
            f"thread {thread.id!r} was written by another program or version: continue it there"
        )
    return thread.config
