"""The judge of AlpacaEval 2.0: compare two answers by the first token."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import fmean
from typing import Any, ClassVar

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.evals.benchmarks.alpaca_eval.score import (
    FIRST,
    SECOND,
    is_switched,
    preference_from_logprobs,
    tie_without_judging,
)
from moa_graph.evals.judging.cases import (
    JudgementCase,
    JudgingMethod,
    MalformedJudgementError,
    fill_template,
)
from moa_graph.evals.judging.overlap import covered_share
from moa_graph.evals.results_file import JsonRow
from moa_graph.prompting.parsing import content_without_reasoning, read_finish_reason

NO_LOGPROBS = (
    "the provider gave no logprobs, which the preference is computed from (--text-verdict reads "
    "the judge's words instead)"
)
_END_MARKER = "<|im_end|>"
_MESSAGE_PATTERN = re.compile(
    rf"<\|im_start\|>(system|user)\n(.*?){re.escape(_END_MARKER)}", re.DOTALL
)
_IDENTIFIER = re.compile(rf"(?<![\w'\u2019])[{FIRST}{SECOND}](?![\w'\u2019])")
_IDENTIFIERS = (FIRST, SECOND)
_SPACES = " \t\r\n▁Ġ"  # the last two are spaces in tokenizers
_MAX_SHOWN_CHARS = 60  # characters of an invalid verdict in an error
_PLACEHOLDERS = ("instruction", "output_1", "output_2")


class AlpacaEvalMethod(JudgingMethod):
    """The weighted annotator: a preference from 1 (reference) to 2 (system)."""

    official_label = "openai:gpt-4-1106-preview"
    temperature: ClassVar[float | None] = 1.0
    max_tokens: ClassVar[int | None] = 1
    request_options: ClassVar[Mapping[str, Any]] = {"logprobs": True, "top_logprobs": 5}
    text_verdict_calls: ClassVar[int] = 2

    def __init__(self, prompt: str, references: Mapping[str | int, str] | None = None) -> None:
        """Parse the prompt.

        Args:
            prompt: A system and a user message in ChatML with `{instruction}`, `{output_1}` and
                `{output_2}`.
            references: Answers to compare with, by item; by default those in the data.

        Raises:
            ValueError: If it is not such a prompt.
        """
        closed, end, _ = prompt.rpartition(_END_MARKER)  # no message starts after the last end
        self._templates = [
            (role, text.strip()) for role, text in _MESSAGE_PATTERN.findall(closed + end)
        ]
        all_text = "".join(text for _, text in self._templates)
        if missing := [name for name in _PLACEHOLDERS if f"{{{name}}}" not in all_text]:
            raise ValueError(
                "AlpacaEval's prompt: expected ChatML messages with {instruction}, {output_1} and "
                f"{{output_2}}; {', '.join(missing)} not found"
            )
        self._prompt, self._references = prompt, references

    def with_text_verdict(self) -> JudgingMethod:
        """Return the method for judges without log-probabilities: text, in both orders."""
        return TextVerdictMethod(self._prompt, self._references)

    @staticmethod
    def shows_system_first(case: JudgementCase) -> bool:
        """Return whether the judge reads the system's answer first: the published rule."""
        return is_switched(case.item.turns[0]) if case.is_switched is None else case.is_switched

    def list_cases(self, item: BenchmarkItem, answers: Sequence[str]) -> list[JudgementCase]:
        """Return the comparison of the answer with the reference's."""
        if self._references is not None:
            other = self._references.get(item.id)
            return [] if other is None else [JudgementCase(item, answers, [other])]
        reference = item.row.get("output")
        if not isinstance(reference, str):
            raise ValueError(
                f"item {item.id!r}: no reference to compare with; expected `output` in the data, "
                "or --against with the folder of another system"
            )
        return [JudgementCase(item, answers, [reference])]

    def case_fields(self, case: JudgementCase) -> JsonRow:
        """Return further fields for the length control."""
        return {
            "category": case.item.category,
            "model_length": len(case.answers[0]),
            "reference_length": len(case.references[0]),
            "switched": self.shows_system_first(case),
        }

    def automatic_judgement(self, case: JudgementCase) -> JsonRow | None:
        """Return a tie for identical answers."""
        tie = tie_without_judging(case.references[0], case.answers[0])
        return None if tie is None else {"preference": tie}

    def build_messages(self, case: JudgementCase) -> list[BaseMessage]:
        """Return the prompt with both answers, in the order of the published rule."""
        outputs = [case.references[0], case.answers[0]]
        if self.shows_system_first(case):
            outputs.reverse()
        values = dict(zip(_PLACEHOLDERS, [case.item.turns[0], *outputs], strict=True))
        kinds = {"system": SystemMessage, "user": HumanMessage}
        return [kinds[role](fill_template(text, values)) for role, text in self._templates]

    def parse_judgement(self, case: JudgementCase, message: AIMessage) -> JsonRow:
        """Compute the preference from the probabilities of the two identifiers."""
        logprobs = _first_token_logprobs(message)
        identifiers = _identifier_logprobs(logprobs)
        if not identifiers:
            tokens = ", ".join(map(repr, logprobs)) or "nothing"
            raise MalformedJudgementError(
                f"the judge named neither {FIRST!r} nor {SECOND!r} but {tokens} (of a judge that "
                "thinks or explains first, --text-verdict reads the words instead)"
            )
        switched = is_switched(case.item.turns[0])
        return {
            "preference": preference_from_logprobs(identifiers, switched=switched),
            "logprobs": logprobs,
        }

    def judge_by_overlap(self, case: JudgementCase) -> AIMessage:
        """Prefer the answer with more words of the instruction."""
        instruction = case.item.turns[0]
        outputs = [case.references[0], case.answers[0]]
        if is_switched(instruction):
            outputs.reverse()
        return _choice_message(*(0.01 + covered_share(instruction, each) for each in outputs))


class TextVerdictMethod(AlpacaEvalMethod):
    """The judge names the better answer in each order; the preference is the mean of both.

    A judge that always names the first answer therefore makes everything a tie.
    """

    temperature: ClassVar[float | None] = None
    max_tokens: ClassVar[int | None] = None
    request_options: ClassVar[Mapping[str, Any]] = {}
    label: ClassVar[str | None] = (
        "verdicts read from the judge's text, in both orders, not from log-probabilities"
    )

    def list_orders(self, case: JudgementCase) -> Sequence[JudgementCase]:
        """Return both orders."""
        return [replace(case, is_switched=switched) for switched in (False, True)]

    def combine_judgements(
        self,
        case: JudgementCase,
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
        """Return the preference for the identifier in the text, if it contains exactly one."""
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


def _choice_message(first: float, second: float) -> AIMessage:
    total = first + second
    logprobs = [
        {"token": token, "logprob": math.log(weight / total)}
        for token, weight in ((FIRST, first), (SECOND, second))
    ]
    token = max(logprobs, key=lambda each: float(str(each["logprob"])))["token"]
    metadata = {"logprobs": {"content": [{"token": token, "top_logprobs": logprobs}]}}
    return AIMessage(str(token), response_metadata=metadata)


def _identifier_logprobs(logprobs: Mapping[str, float]) -> dict[str, float]:
    """Return the log-probabilities of the identifiers.

    As in the published parser, tokens must match exactly if that gives a judgement. If the most
    likely token is an identifier after a space, as in many tokenizers, spaces are ignored.
    """
    likeliest = max(logprobs, key=lambda token: logprobs[token], default="")
    bare = {token: token.strip(_SPACES) for token in logprobs}
    is_spaced = likeliest not in _IDENTIFIERS and bare.get(likeliest) in _IDENTIFIERS
    has_exact = any(logprobs.get(token, -inf) != -inf for token in _IDENTIFIERS)
    weights: dict[str, float] = {}
    for token, logprob in logprobs.items():
        name = bare[token] if is_spaced or not has_exact else token
        if name in _IDENTIFIERS and logprob != -inf:
            weight = weights.get(name)
            weights[name] = (
                logprob if weight is None else min(0.0, float(np.logaddexp(weight, logprob)))
            )
    return weights


def _first_token_logprobs(message: AIMessage) -> dict[str, float]:
    """Return the most likely first tokens, from the format of OpenAI's chat completions."""
    match message.response_metadata.get("logprobs"):
        case {"content": [{"top_logprobs": [_, *_] as tokens}, *_]}:
            return {each["token"]: float(each["logprob"]) for each in tokens}
        case _:
            raise MalformedJudgementError(NO_LOGPROBS)
