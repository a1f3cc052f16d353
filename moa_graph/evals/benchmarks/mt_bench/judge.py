"""The judge of MT-Bench: a rating from 1 to 10 for each answer."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.evals.benchmarks.mt_bench.score import NO_SCORE, extract_score
from moa_graph.evals.judging.cases import (
    JudgementCase,
    JudgingMethod,
    MalformedJudgementError,
    fill_template,
)
from moa_graph.evals.judging.overlap import overlap_share
from moa_graph.evals.results_file import JsonRow
from moa_graph.prompting.parsing import read_finish_reason

REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
"""Categories that are graded against a reference answer."""
_PROMPT_NAMES = ("single-v1", "single-v1-multi-turn", "single-math-v1", "single-math-v1-multi-turn")
_MAX_SHOWN_CHARS = 60  # characters of a judgement without a rating in an error


class MTBenchMethod(JudgingMethod):
    """Single-answer grading; the second turn is graded with the whole conversation."""

    official_label = "openai:gpt-4"
    temperature: ClassVar[float | None] = 0.0
    max_tokens: ClassVar[int | None] = 2048
    request_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, prompts: str, references: str | None) -> None:
        """Parse prompts and references.

        Args:
            prompts: JSON Lines with `name`, `system_prompt` and `prompt_template`.
            references: Answers in the benchmark's format, as JSON Lines; `None` for the user's own
                data, whose rows may have a `reference` (a list of texts).

        Raises:
            ValueError: If one of the four prompts is missing, or the references are invalid.
        """
        rows = {row.get("name"): row for row in _read_json_lines(prompts, "prompts")}
        if missing := [name for name in _PROMPT_NAMES if name not in rows]:
            raise ValueError(f"MT-Bench's prompts: {', '.join(missing)} not found")
        self._prompts = {
            name: (rows[name]["system_prompt"], rows[name]["prompt_template"])
            for name in _PROMPT_NAMES
        }
        self._references: dict[Any, Sequence[str]] | None = None
        if references is not None:
            self._references = {
                row["question_id"]: row["choices"][0]["turns"]
                for row in _read_json_lines(references, "reference answers")
            }

    def list_cases(self, item: BenchmarkItem, answers: Sequence[str]) -> list[JudgementCase]:
        """Return a judgement for each turn."""
        references = self._find_references(item)
        turns = range(1, min(len(answers), 2) + 1)
        return [JudgementCase(item, answers, references, turn) for turn in turns]

    def case_fields(self, case: JudgementCase) -> JsonRow:
        """Return the name of the prompt."""
        return {
            "turn": case.turn,
            "category": case.item.category,
            "prompt": _prompt_name(case),
        }

    def build_messages(self, case: JudgementCase) -> list[BaseMessage]:
        """Return the prompt with the question or conversation, and the answer."""
        system, template = self._prompts[_prompt_name(case)]
        values = {"question": case.item.turns[0], "answer": case.answers[0]}
        for number, (turn, answer) in enumerate(
            zip(case.item.turns, case.answers, strict=False), 1
        ):
            values |= {f"question_{number}": turn, f"answer_{number}": answer}
        for number, reference in enumerate(case.references, 1):
            values[f"ref_answer_{number}"] = reference
        return [SystemMessage(system), HumanMessage(fill_template(template, values))]

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Parse the rating."""
        score = extract_score(message.text)
        if score == NO_SCORE:
            end = " ".join(message.text.split())[-_MAX_SHOWN_CHARS:]
            reason = read_finish_reason(message)
            raise MalformedJudgementError(f"no rating in what the judge said: …{end!r} ({reason})")
        return {"score": score, "judgement": message.text}

    def judge_by_overlap(self, case: JudgementCase) -> AIMessage:
        """Rate an answer by the words shared with its reference answer, or the question."""
        turn = case.turn - 1
        reference = case.references[turn] if turn < len(case.references) else None
        share = overlap_share(case.item.turns[turn], case.answers[turn], reference)
        return AIMessage(f"Words counted: [[{1 + 9 * share:.1f}]]")

    def _find_references(self, item: BenchmarkItem) -> Sequence[str]:
        if item.category not in REFERENCE_CATEGORIES:
            return ()
        if self._references is None:
            own = item.row.get("reference") or ()
            return [own] if isinstance(own, str) else own
        if item.id not in self._references:
            raise ValueError(f"question {item.id}: its reference answer is not among those given")
        return self._references[item.id]


def _prompt_name(case: JudgementCase) -> str:
    kind = "single-math-v1" if len(case.references) >= case.turn else "single-v1"
    return kind if case.turn == 1 else f"{kind}-multi-turn"


def _read_json_lines(text: str, what: str) -> list[Any]:
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"MT-Bench's {what}: not JSON lines: {error}") from None
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"MT-Bench's {what}: expected an object a line")
    return rows
