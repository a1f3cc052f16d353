"""The judge of FLASK: a review that scores three skills from 1 to 5."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.evals.benchmarks.flask.score import parse_review
from moa_graph.evals.judging.cases import (
    JudgementCase,
    JudgingMethod,
    MalformedJudgementError,
    fill_template,
)
from moa_graph.evals.judging.overlap import overlap_share
from moa_graph.evals.results_file import JsonRow
from moa_graph.prompting.parsing import read_finish_reason

_PROMPT_ID = 2  # the prompt with the reference answer, which the published code always uses
_MAX_SHOWN_CHARS = 60  # characters of a review without scores in an error


class FlaskMethod(JudgingMethod):
    """A review of three skills that includes the reference answer.

    The published code sets a temperature and a length but never sends them, so neither does this.
    """

    official_label = "openai:gpt-4-0613"
    temperature: ClassVar[float | None] = None
    max_tokens: ClassVar[int | None] = None
    request_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, prompts: str, skills: str) -> None:
        """Parse prompts and skills.

        Args:
            prompts: JSON Lines with `prompt_id`, `system_prompt`, `prompt_template` and `defaults`.
            skills: A JSON list of objects with `Skill`, `Criteria` and `Scoring`.

        Raises:
            ValueError: If one is invalid.
        """
        try:
            rows = [json.loads(line) for line in prompts.splitlines() if line.strip()]
            prompt = next(row for row in rows if row["prompt_id"] == _PROMPT_ID)
            self._system, template = prompt["system_prompt"], prompt["prompt_template"]
            self._template = fill_template(template, prompt["defaults"])
            self._skills = {row["Skill"]: _format_rubric(row) for row in json.loads(skills)}
        except (ValueError, LookupError, TypeError, StopIteration, RecursionError) as error:
            raise ValueError(
                "FLASK's prompt and skills: expected JSON lines with prompt 2, and a JSON list of "
                f"skills: {type(error).__name__}: {error}"
            ) from None

    def list_cases(self, item: BenchmarkItem, answers: Sequence[str]) -> list[JudgementCase]:
        """Return the judgement of the answer, with the reference answer."""
        row = item.row
        if not isinstance(row.get("answer"), str) or not isinstance(row.get("skill"), list):
            raise ValueError(f"item {item.id!r}: expected `answer` and `skill` in the data")
        return [JudgementCase(item, answers, [row["answer"]])]

    def case_fields(self, case: JudgementCase) -> JsonRow:
        """Return the fields for grouping scores."""
        domain, difficulty = case.item.row.get("domain") or [], case.item.row.get("difficulty")
        return {
            "skills": case.item.row["skill"],
            "domains": [domain] if isinstance(domain, str) else domain,
            "difficulty": str(difficulty) if difficulty else "-1",
        }

    def build_messages(self, case: JudgementCase) -> list[BaseMessage]:
        """Return the prompt with rubrics, instruction, reference and answer."""
        values = {
            "skills": "".join(self._find_rubric(label) for label in case.item.row["skill"]),
            "question": case.item.turns[0],
            "sample_answer": case.references[0],
            "response": case.answers[0],
        }
        return [SystemMessage(self._system), HumanMessage(fill_template(self._template, values))]

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Parse the scores."""
        if scores := parse_review(message.text):
            return {"scores": scores, "review": message.text}
        end = " ".join(message.text.split())[-_MAX_SHOWN_CHARS:]
        reason = read_finish_reason(message)
        raise MalformedJudgementError(f"no scores in what the judge said: …{end!r} ({reason})")

    def judge_by_overlap(self, case: JudgementCase) -> AIMessage:
        """Score all skills by the words shared with the reference answer."""
        share = overlap_share(case.item.turns[0], case.answers[0], case.references[0])
        return AIMessage(str(dict.fromkeys(case.item.row["skill"], 1 + round(4 * share))))

    def _find_rubric(self, label: str) -> str:
        matches = [rubric for skill, rubric in self._skills.items() if label in skill]
        if not matches:
            skills = ", ".join(self._skills)
            raise ValueError(f"no skill {label!r}; expected one of: {skills}")
        return matches[0]


def _format_rubric(skill: Mapping[str, Any]) -> str:
    scores = "".join(f"\nScore {n}: {meaning}" for n, meaning in skill["Scoring"].items())
    return f"\n{skill['Skill']}: {skill['Criteria']}{scores}\n\n"
