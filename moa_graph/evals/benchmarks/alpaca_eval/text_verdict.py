"""AlpacaEval's question to judges that give no log-probabilities: their words, in both orders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, ClassVar

from langchain_core.messages import AIMessage

from moa_graph.evals.benchmarks.alpaca_eval.judge import AlpacaEvalMethod
from moa_graph.evals.benchmarks.alpaca_eval.score import FIRST, SECOND
from moa_graph.evals.judging.cases import JudgementCase, MalformedJudgementError
from moa_graph.evals.results_file import JsonRow
from moa_graph.prompting.parsing import content_without_reasoning, read_finish_reason

_IDENTIFIER = re.compile(rf"(?<![\w'\u2019])[{FIRST}{SECOND}](?![\w'\u2019])")
_MAX_SHOWN_CHARS = 60  # characters of a verdict that cannot be read


class TextVerdictMethod(AlpacaEvalMethod):
    """The judge names the better answer in each order; the preference is the mean of the two.

    A judge that always names what stands first so calls everything a tie.
    """

    temperature: ClassVar[float | None] = None
    max_tokens: ClassVar[int | None] = None
    request_options: ClassVar[Mapping[str, Any]] = {}
    label: ClassVar[str | None] = (
        "verdicts read from the judge's text, in both orders, not from log-probabilities"
    )

    def list_orders(self, case: JudgementCase) -> Sequence[JudgementCase]:
        """Have the judge read the reference's answer first, and the system's first."""
        return [replace(case, is_switched=switched) for switched in (False, True)]

    def combine_judgements(
        self,
        case: JudgementCase,  # noqa: ARG002
        judgements: Sequence[JsonRow],
    ) -> JsonRow:
        """Average the preferences."""
        preferences = [each["preference"] for each in judgements]
        return {
            "preference": fmean(preferences),
            "first_order": preferences[0],
            "second_order": preferences[1],
        }

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Find the identifier that the judge named, if it named one only."""
        text = AIMessage(content_without_reasoning(message)).text
        named = set(_IDENTIFIER.findall(text))
        if len(named) != 1:
            start = " ".join(text.split())[:_MAX_SHOWN_CHARS]
            raise MalformedJudgementError(
                f"expected {FIRST!r} or {SECOND!r} from the judge, got {start!r} "
                f"({read_finish_reason(message)})"
            )
        prefers_second = named == {SECOND}
        return {"preference": 2 if prefers_second != self.shows_system_first(case) else 1}
