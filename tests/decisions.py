"""A decision model without a network."""

from typing import Any

from langchain_core.decisions import BaseDecisionModel, ClassifierResponse
from pydantic import Field

USAGE = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}


class FakeDecisions(BaseDecisionModel):
    """Answers what it was given to answer, and remembers what it was asked."""

    model: str = "judge"
    answers: list[Any] = Field(default_factory=lambda: [1.0])
    """One for each call, the last one for ever: a probability, a label, an exception, or `None`."""
    usage: dict[str, int] | None = Field(default_factory=lambda: {**USAGE})
    asked: list[Any] = Field(default_factory=list)
    """State and questions of each call."""

    @property
    def _provider(self) -> str:
        return "fake"

    def _classify(self, state: Any, questions: dict[str, Any]) -> ClassifierResponse:
        self.asked.append((state, questions))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            return ClassifierResponse(model=self.model, answers={}, usage=self.usage)
        [name] = questions
        told: dict[str, Any] = {"type": "noul", "noul": answer}
        if isinstance(answer, str):
            probabilities = {label: float(label == answer) for label in questions[name].criteria}
            told = {"type": "choice", "choice": answer, "confidence": 0.8}
            told["probabilities"] = probabilities
        return ClassifierResponse(model=self.model, answers={name: told}, usage=self.usage)
