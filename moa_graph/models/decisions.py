"""Decision models of LangChain, for early stops and routers.

Two kinds are supported: `langchain_core.decisions.BaseDecisionModel`, and `OpenAIDecisions` of
`langchain_openai`, which has a different interface.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias, cast

from langchain_core.decisions import BaseDecisionModel, Choice, Noul, NoulCriteria
from langchain_core.runnables import RunnableConfig

from moa_graph.prompting.usage import clean_usage
from moa_graph.sync_async import Flow, Step

DecisionModel: TypeAlias = Any
"""A `BaseDecisionModel` or an `OpenAIDecisions`."""

_QUESTION = "decision"


class DecisionQuestion(NamedTuple):
    """A question to a decision model."""

    instructions: str
    meanings: Mapping[str, str]
    """Meanings of the answers: of `true` and `false`, or of the labels to choose from."""

    @property
    def is_yes_no(self) -> bool:
        """Whether it asks for the probability of `true`, and not for a choice."""
        return self.meanings.keys() == {"true", "false"}


class ModelDecision(NamedTuple):
    """The answer of a decision model."""

    label: str
    """The chosen label; empty for a yes-no question."""
    probability: float
    """Probability of that label, or of `true`."""
    model: str
    usage: dict[str, Any] | None
    """Its tokens; `None` if it did not report them."""
    error: Exception | None = None
    """Why there is no answer; `None` if there is one. The tokens count in both cases."""


def is_decision_model(value: Any) -> bool:
    """Return whether a value is a decision model."""
    return isinstance(value, BaseDecisionModel) or _is_openai(value)


def name_decision_model(model: DecisionModel) -> str:
    """Return the name of a decision model: `provider:model`."""
    provider = "openai" if _is_openai(model) else model._provider  # noqa: SLF001  # its interface
    return f"{provider}:{model.model}"


def ask_decision_model(
    model: DecisionModel, state: Any, question: DecisionQuestion, config: RunnableConfig
) -> Flow[ModelDecision]:
    """Ask a decision model a question.

    Args:
        model: The decision model.
        state: The subject of the question.
        question: The question.
        config: The config of the call.

    Raises:
        Exception: Any error of the call.
    """
    name = name_decision_model(model)
    if _is_openai(model):
        request = {"input": state, "questions": {_QUESTION: _to_openai_question(question)}}
    else:
        request = {"state": state, "questions": {_QUESTION: _to_question(question)}}
    response = yield Step(model.invoke, model.ainvoke, (request, config))
    usage, answer = _read_usage(response), _find_answer(response, question)
    if answer is None:
        error = LookupError(f"{response.model} gave no answer to the question")
        return ModelDecision("", 0.0, name, usage, error)
    if not question.is_yes_no:
        return ModelDecision(str(answer.choice), answer.confidence, name, usage)
    return ModelDecision("", answer.probability if _is_openai(model) else answer.noul, name, usage)


def _to_question(question: DecisionQuestion) -> Choice | Noul:
    """Convert a question to that of `langchain_core`."""
    if question.is_yes_no:
        criteria = NoulCriteria(**question.meanings)
        return Noul(instructions=question.instructions, criteria=criteria)
    return Choice(instructions=question.instructions, criteria=dict(question.meanings))


def _to_openai_question(question: DecisionQuestion) -> Any:
    """Convert a question to that of `langchain_openai`."""
    from langchain_openai import decisions

    if question.is_yes_no:
        yes, no = question.meanings["true"], question.meanings["false"]
        return decisions.Predicate(instructions=f"{question.instructions} Yes: {yes} No: {no}")
    choices = cast("dict[str | bool, str | None]", dict(question.meanings))
    return decisions.Choice(instructions=question.instructions, choices=choices)


def _find_answer(response: Any, question: DecisionQuestion) -> Any:
    """Return the answer in a response; `None` if there is none."""
    if question.is_yes_no:
        answers = response.nouls if hasattr(response, "nouls") else response.predicates
    else:
        answers = response.choices
    return answers.get(_QUESTION)


def _read_usage(response: Any) -> dict[str, Any] | None:
    """Return the tokens of a decision; OpenAI's response has a different object for them."""
    usage = response.usage
    if usage is not None and not isinstance(usage, Mapping):
        input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
        if input_tokens is None or output_tokens is None:
            return None
        usage = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
    return clean_usage(usage)


def _is_openai(value: Any) -> bool:
    """Check the name of the class, to avoid an import."""
    names = {(each.__module__.partition(".")[0], each.__name__) for each in type(value).__mro__}
    return ("langchain_openai", "OpenAIDecisions") in names
