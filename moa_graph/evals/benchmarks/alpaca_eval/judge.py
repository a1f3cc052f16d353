"""AlpacaEval 2.0: which of two answers is better, by the judge's first token."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from moa_graph.evals.benchmarks.alpaca_eval.score import (
    FIRST,
    SECOND,
    is_switched,
    preference_from_logprobs,
    tie_without_judging,
)
from moa_graph.evals.datasets import Item
from moa_graph.evals.judging.cases import Case, MalformedError, fill
from moa_graph.evals.results_file import Row

NO_LOGPROBS = "the provider gave no logprobs, which the preference is computed from"
_END = "<|im_end|>"
_PART = re.compile(rf"<\|im_start\|>(system|user)\n(.*?){re.escape(_END)}", re.DOTALL)
_NAMES = ("instruction", "output_1", "output_2")


class AlpacaEval:
    """The weighted annotator: a preference from 1 (the reference's answer) to 2 (the system's)."""

    official: ClassVar[str] = "openai:gpt-4-1106-preview"
    temperature: ClassVar[float | None] = 1.0
    max_tokens: ClassVar[int | None] = 1
    asked: ClassVar[Mapping[str, Any]] = {"logprobs": True, "top_logprobs": 5}

    def __init__(self, prompt: str, references: Mapping[str | int, str] | None = None) -> None:
        """Read the prompt.

        Args:
            prompt: A system and a user message in ChatML, with `{instruction}`, `{output_1}` and
                `{output_2}` in them.
            references: The answers to compare with, by item; by default those in the data.

        Raises:
            ValueError: If it is no such prompt.
        """
        closed, end, _ = prompt.rpartition(_END)  # behind the last end none is searched for
        self._templates = [(role, text.strip()) for role, text in _PART.findall(closed + end)]
        whole = "".join(text for _, text in self._templates)
        if missing := [name for name in _NAMES if f"{{{name}}}" not in whole]:
            raise ValueError(
                "AlpacaEval's prompt: expected ChatML messages with {instruction}, {output_1} and "
                f"{{output_2}}; {', '.join(missing)} not found"
            )
        self._references = references

    def cases(self, item: Item, answers: Sequence[str]) -> list[Case]:
        """Hold the answer against the reference's."""
        if self._references is not None:
            other = self._references.get(item.id)
            return [] if other is None else [Case(item, answers, [other])]
        reference = item.row.get("output")
        if not isinstance(reference, str):
            raise ValueError(  # noqa: TRY004  # the data's fault
                f"item {item.id!r}: no reference to compare with; expected `output` in the data, "
                "or --against with the folder of another system"
            )
        return [Case(item, answers, [reference])]

    def facts(self, case: Case) -> Row:
        """Give what the length control needs, too."""
        return {
            "category": case.item.category,
            "model_length": len(case.answers[0]),
            "reference_length": len(case.references[0]),
            "switched": is_switched(case.item.turns[0]),
        }

    def settled(self, case: Case) -> Row | None:
        """Call identical answers a tie."""
        tie = tie_without_judging(case.references[0], case.answers[0])
        return None if tie is None else {"preference": tie}

    def messages(self, case: Case) -> list[BaseMessage]:
        """Show both answers, in the order of the published rule."""
        outputs = [case.references[0], case.answers[0]]
        if is_switched(case.item.turns[0]):
            outputs.reverse()
        values = dict(zip(_NAMES, [case.item.turns[0], *outputs], strict=True))
        kinds = {"system": SystemMessage, "user": HumanMessage}
        return [kinds[role](fill(text, values)) for role, text in self._templates]

    def read(self, case: Case, message: AIMessage) -> Row:
        """Weigh the two identifiers."""
        logprobs = _first_token(message)
        named = {token: logprobs[token] for token in (FIRST, SECOND) if token in logprobs}
        if not named:
            said = ", ".join(map(repr, logprobs)) or "nothing"
            raise MalformedError(f"the judge named neither {FIRST!r} nor {SECOND!r} but {said}")
        switched = is_switched(case.item.turns[0])
        return {
            "preference": preference_from_logprobs(named, switched=switched),
            "logprobs": logprobs,
        }


def _first_token(message: AIMessage) -> dict[str, float]:
    """Read the likeliest first tokens, as OpenAI's chat completions give them."""
    match message.response_metadata.get("logprobs"):
        case {"content": [{"top_logprobs": [_, *_] as tokens}, *_]}:
            return {each["token"]: float(each["logprob"]) for each in tokens}
        case _:
            raise MalformedError(NO_LOGPROBS)
