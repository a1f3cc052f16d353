"""Cases to judge, and `JudgingMethod`, the base class of judging methods."""

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
    """A judgement to make."""

    item: BenchmarkItem
    answers: Sequence[str]
    """Answers of the system, turn by turn."""
    references: Sequence[str] = ()
    """Answers to compare with, turn by turn; may be empty."""
    turn: int = 1
    """Index of the judged turn."""
    is_switched: bool | None = None
    """Whether the judge reads the system's answer first; `None` for the method's rule."""


class MalformedJudgementError(MoAError, ValueError):
    """A judge answered without a valid judgement."""


class JudgingMethod(Protocol):
    """Base class of judging methods. Members with a default are optional in subclasses."""

    official_label: str
    """The judge of the published figures."""
    temperature: ClassVar[float | None] = None
    """Temperature of the judge; `None` for the provider's default."""
    max_tokens: ClassVar[int | None] = None
    """Maximum number of tokens of the judge; `None` for the provider's default."""
    request_options: ClassVar[Mapping[str, Any]] = {}
    """Further request parameters of each call."""
    label: ClassVar[str | None] = None
    """Label that must accompany figures from such judgements, if any."""
    text_verdict_calls: ClassVar[int] = 1
    """Number of calls for a judgement with text verdicts."""

    def with_text_verdict(self) -> "JudgingMethod":
        """Return the method that reads the judge's text; by default this one does."""
        return self

    def list_orders(self, case: JudgementCase) -> Sequence[JudgementCase]:
        """Return the calls for a judgement; by default the case itself."""
        return [case]

    def combine_judgements(
        self,
        case: JudgementCase,
        judgements: Sequence[JsonRow],
    ) -> JsonRow:
        """Combine the judgements of `list_orders`."""
        return judgements[0]

    def list_cases(self, item: BenchmarkItem, answers: Sequence[str]) -> list[JudgementCase]:
        """Return the judgements of an item; by default one, of the first answer.

        Raises:
            ValueError: If the data lack a required field.
        """
        return [JudgementCase(item, answers)]

    def case_fields(self, case: JudgementCase) -> JsonRow:
        """Return the stored fields of a case; by default its category."""
        return {"category": case.item.category}

    def automatic_judgement(self, case: JudgementCase) -> JsonRow | None:
        """Return a judgement that needs no judge; `None` by default."""
        return None

    def build_messages(self, case: JudgementCase) -> list[BaseMessage]:
        """Return the prompt of the judge."""
        raise NotImplementedError(f"{type(self).__name__} asks no judge")

    def describe_prompt(self, case: JudgementCase) -> str:
        """Return the last message of the prompt; empty if no judge is called."""
        if self.automatic_judgement(case) is not None:
            return ""
        return self.build_messages(case)[-1].text

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Parse the judgement in an answer.

        Raises:
            MalformedJudgementError: If there is none.
        """
        raise NotImplementedError(f"{type(self).__name__} asks no judge")

    def judge_by_overlap(self, case: JudgementCase) -> AIMessage:
        """Return the answer of the stand-in `offline:overlap` in the judge's format.

        Raises:
            ValueError: If the benchmark has no stand-in, as by default.
        """
        raise ValueError(f"offline:overlap cannot judge here; expected {self.official_label}")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Replace names in braces by texts; other braces, also in the texts, stay."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"{{({names})}}", lambda match: values[match[1]], template)
