"""What is judged, and what a benchmark's way of judging consists of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from langchain_core.messages import AIMessage, BaseMessage

from moa_graph.errors import MoAError
from moa_graph.evals.benchmark_data import BenchmarkItem
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
    is_switched: bool | None = None
    """Whether the judge reads the system's answer first; `None` leaves it to the method."""


class MalformedJudgementError(MoAError, ValueError):
    """A judge answered, but what it said is no judgement."""


class JudgingMethod(Protocol):
    """How a benchmark has answers judged. Subclass it: what has a default may be left out."""

    official_label: ClassVar[str]
    """The judge that its published figures are by."""
    temperature: ClassVar[float | None] = None
    """Of the judge; `None` leaves it to the provider."""
    max_tokens: ClassVar[int | None] = None
    """The most that the judge may write; `None` leaves it to the provider."""
    request_options: ClassVar[Mapping[str, Any]] = {}
    """What else is asked of the judge's provider in each call."""
    label: ClassVar[str | None] = None
    """What has to be said wherever figures from such judgements stand, if anything."""
    text_verdict_calls: ClassVar[int] = 1
    """Calls for a judgement where the judge's words are read."""

    def with_text_verdict(self) -> "JudgingMethod":
        """Give the method that reads the judge's words; by default they are read anyway."""
        return self

    def list_orders(self, case: JudgementCase) -> Sequence[JudgementCase]:
        """List what the judge is asked for a judgement; by default the case as it is."""
        return [case]

    def combine_judgements(
        self,
        case: JudgementCase,  # noqa: ARG002
        judgements: Sequence[JsonRow],
    ) -> JsonRow:
        """Make one judgement of those of `list_orders`."""
        return judgements[0]

    def list_cases(self, item: BenchmarkItem, answers: Sequence[str]) -> list[JudgementCase]:
        """List the judgements of an item; by default one, of the first answer.

        Raises:
            ValueError: If the data lack something that they need.
        """
        return [JudgementCase(item, answers)]

    def case_fields(self, case: JudgementCase) -> JsonRow:
        """Give what is written down of a case, judged or not; by default its category."""
        return {"category": case.item.category}

    def automatic_judgement(self, case: JudgementCase) -> JsonRow | None:  # noqa: ARG002
        """Give the judgement where no judge has to be asked for it; by default there is none."""
        return None

    def build_messages(self, case: JudgementCase) -> list[BaseMessage]:
        """Write what the judge is asked."""
        raise NotImplementedError(f"{type(self).__name__} asks no judge")

    def describe_prompt(self, case: JudgementCase) -> str:
        """Give the last message that the judge is sent; nothing where no judge is asked."""
        if self.automatic_judgement(case) is not None:
            return ""
        return self.build_messages(case)[-1].text

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Read the judgement from what the judge answered.

        Raises:
            MalformedJudgementError: If it is none.
        """
        raise NotImplementedError(f"{type(self).__name__} asks no judge")

    def judge_by_overlap(self, case: JudgementCase) -> AIMessage:  # noqa: ARG002
        """Answer as the stand-in `offline:overlap`, which counts words, in the judge's own form.

        Raises:
            ValueError: If the benchmark has no stand-in, as by default.
        """
        raise ValueError(f"offline:overlap cannot judge here; expected {self.official_label}")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Put texts where a template names them in braces; other braces, also in the texts, stay."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"{{({names})}}", lambda found: values[found[1]], template)
