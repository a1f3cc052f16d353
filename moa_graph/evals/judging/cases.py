"""What is judged, and what a benchmark's way of judging consists of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from langchain_core.messages import AIMessage, BaseMessage

from moa_graph.errors import MoAError
from moa_graph.evals.datasets import BenchmarkItem
from moa_graph.evals.results_file import JsonRow


@dataclass(frozen=True)
class JudgementCase:
    """One judgement that is to be made."""

    item: BenchmarkItem
    answers: Sequence[str]
    """The system's, turn by turn."""
    references: Sequence[str] = ()
    """Answers to hold them against, turn by turn; empty if there are none."""
    turn: int = 1
    """The turn whose answer is judged."""


class MalformedJudgementError(MoAError, ValueError):
    """A judge answered, but what it said is no judgement."""


class JudgingMethod(Protocol):
    """How a benchmark has answers judged."""

    official_label: ClassVar[str]
    """The judge that its published figures are by."""
    temperature: ClassVar[float | None]
    """Of the judge; `None` leaves it to the provider."""
    max_tokens: ClassVar[int | None]
    """The most that the judge may write; `None` leaves it to the provider."""
    request_options: ClassVar[Mapping[str, Any]]
    """What else is asked of the judge's provider in each call."""

    def list_cases(self, item: BenchmarkItem, answers: Sequence[str]) -> list[JudgementCase]:
        """List the judgements of an item.

        Raises:
            ValueError: If the data lack something that they need.
        """

    def case_fields(self, case: JudgementCase) -> JsonRow:
        """Give what is written down of a case, judged or not."""

    def automatic_judgement(self, case: JudgementCase) -> JsonRow | None:
        """Give the judgement where no judge has to be asked for it."""

    def build_messages(self, case: JudgementCase) -> list[BaseMessage]:
        """Write what the judge is asked."""

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Read the judgement from what the judge answered.

        Raises:
            MalformedError: If it is none.
        """


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Put texts where a template names them in braces; other braces, also in the texts, stay."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"{{({names})}}", lambda found: values[found[1]], template)
