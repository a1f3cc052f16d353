"""Judge answers with an exact scorer, without a call."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage

from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.evals.judging.cases import JudgementCase, JudgingMethod
from moa_graph.evals.results_file import JsonRow
from moa_graph.evals.scorers.protocol import Score, Scorer
from moa_graph.evals.scorers.table import SCORER_PREFIX


class ExactMethod(JudgingMethod):
    """Scores the last answer of an item."""

    official_label = SCORER_PREFIX

    def __init__(self, scorer: Scorer, official_label: str = "") -> None:
        self.scorer = scorer
        self.official_label = official_label or f"{SCORER_PREFIX}{scorer.name}"

    def list_cases(self, item: BenchmarkItem, answers: Sequence[str]) -> list[JudgementCase]:
        """Return the judgement of an item.

        Raises:
            ValueError: If its row lacks a key that the scorer needs.
        """
        self.scorer.check_row(item.row)
        return [JudgementCase(item, answers)]

    def automatic_judgement(self, case: JudgementCase) -> JsonRow:
        """Score the answer."""
        return score_fields(self.scorer.score(case.answers[-1], case.item.row))

    def build_messages(self, case: JudgementCase) -> list[BaseMessage]:
        """Not supported: no model judges.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Not supported: no model judges.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def describe_prompt(self, case: JudgementCase) -> str:
        """Return an empty text: no model judges."""
        return ""


def score_fields(score: Score) -> JsonRow:
    """Return the fields of a score for the judgement."""
    fields: JsonRow = {"score": score.points, "read": score.answer}
    if score.parts:
        fields["parts"] = dict(score.parts)
    return fields | ({"note": score.note} if score.note else {})
