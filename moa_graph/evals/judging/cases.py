"""What is judged, and what a benchmark's way of judging consists of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from langchain_core.messages import AIMessage, BaseMessage

from moa_graph.evals.datasets import Item
from moa_graph.evals.results_file import Row


@dataclass(frozen=True)
class Case:
    """One judgement that is to be made."""

    item: Item
    answers: Sequence[str]
    """The system's, turn by turn."""
    references: Sequence[str] = ()
    """Answers to hold them against, turn by turn; empty if there are none."""
    turn: int = 1
    """The turn whose answer is judged."""


class MalformedError(ValueError):
    """A judge answered, but what it said is no judgement."""


class Method(Protocol):
    """How a benchmark has answers judged."""

    official: ClassVar[str]
    """The judge that its published figures are by."""
    temperature: ClassVar[float | None]
    """Of the judge; `None` leaves it to the provider."""
    max_tokens: ClassVar[int | None]
    """The most that the judge may write; `None` leaves it to the provider."""
    asked: ClassVar[Mapping[str, Any]]
    """What else is asked of the judge's provider in each call."""

    def cases(self, item: Item, answers: Sequence[str]) -> list[Case]:
        """List the judgements of an item.

        Raises:
            ValueError: If the data lack something that they need.
        """

    def facts(self, case: Case) -> Row:
        """Give what is written down of a case, judged or not."""

    def settled(self, case: Case) -> Row | None:
        """Give the judgement where no judge has to be asked for it."""

    def messages(self, case: Case) -> list[BaseMessage]:
        """Write what the judge is asked."""

    def read(self, case: Case, message: AIMessage) -> Row:
        """Read the judgement from what the judge answered.

        Raises:
            MalformedError: If it is none.
        """


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put texts where a template names them in braces; other braces, also in the texts, stay."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"{{({names})}}", lambda found: values[found[1]], template)
