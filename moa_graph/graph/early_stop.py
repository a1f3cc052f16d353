"""The option `early_stop`: decide after a layer whether the aggregator writes now."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from moa_graph.graph.agreement import Agreement, agreement, check_threshold
from moa_graph.graph.state import Proposal
from moa_graph.graph.user_functions import call_step, name_function, to_plain
from moa_graph.sync_async import Flow

if TYPE_CHECKING:
    from moa_graph.models.decisions import DecisionModel

MIN_PROBABILITY = 0.5
"""Probability at which the answer of a decision model counts as yes."""

ENOUGH_QUESTION = (
    "Several assistants answered the last message of `conversation`, each by itself; `answers` are "
    "what they wrote. Do the answers agree in everything that matters, so that another round of "
    "answers would not change what a good final answer says?"
)
ENOUGH_CRITERIA = {
    "true": "They say the same in substance, and none of them doubts it.",
    "false": "They contradict each other, leave something open, or are about different things.",
}


class StopDecision(NamedTuple):
    """Whether the aggregator writes now, and why."""

    stop: bool
    why: str
    model: str | None = None
    """Decision model."""
    usage: dict[str, Any] | None = None
    """Tokens of the decision model; `None` if it did not report them."""
    error: Exception | None = None
    """Cause of a failed decision; `None` otherwise."""


Decide = Callable[[Sequence[AnyMessage], Sequence[Proposal], RunnableConfig], Flow[StopDecision]]
"""Decides from the conversation and the proposals of a layer."""


def make_decide(early_stop: Any) -> Decide | None:
    """Return the decision function for a value of the option; `None` if it is not set.

    Raises:
        ValueError: If the value is invalid.
    """
    if early_stop is None:
        return None
    if isinstance(early_stop, (int, float)):
        early_stop = Agreement(check_threshold("early_stop", early_stop))
    if isinstance(early_stop, Agreement):
        return partial(_decide_by_agreement, early_stop)
    from moa_graph.models.decisions import is_decision_model  # noqa: PLC0415  # few have one

    if is_decision_model(early_stop):
        return partial(_decide_by_model, early_stop)
    if callable(early_stop) and early_stop is not agreement:  # it is a factory
        return partial(_decide_by_function, early_stop)
    raise ValueError(
        f"`early_stop`={early_stop!r}: expected `agreement(0.9)`, a number such as 0.9, a function "
        "of the layer's proposals, or a decision model"
    )


def _decide_by_agreement(
    agreement: Agreement, _: Sequence[AnyMessage], proposals: Sequence[Proposal], *__: Any
) -> Flow[StopDecision]:
    yield from ()
    return StopDecision(*agreement(proposals))


def _decide_by_function(
    function: Callable[..., Any],
    _: Sequence[AnyMessage],
    proposals: Sequence[Proposal],
    *__: Any,
) -> Flow[StopDecision]:
    value = yield call_step(function, [{**each} for each in proposals])
    return read_stop_decision(value, name_function(function))


def _decide_by_model(
    model: "DecisionModel",
    messages: Sequence[AnyMessage],
    proposals: Sequence[Proposal],
    config: RunnableConfig,
) -> Flow[StopDecision]:
    from moa_graph.models.decisions import DecisionQuestion, ask_decision_model  # noqa: PLC0415  # loaded with the model

    state = {"conversation": list(messages), "answers": [each["content"] for each in proposals]}
    question = DecisionQuestion(ENOUGH_QUESTION, ENOUGH_CRITERIA)
    answer = yield from ask_decision_model(model, state, question, config)
    if answer.error:
        return StopDecision(False, "", answer.model, answer.usage, answer.error)  # noqa: FBT003  # a tuple
    is_enough = answer.probability >= MIN_PROBABILITY
    relation = "at least" if is_enough else "below"
    why = f"{answer.model}: {answer.probability:.2f}, {relation} {MIN_PROBABILITY:g}"
    return StopDecision(is_enough, why, answer.model, answer.usage)


def read_stop_decision(value: Any, name: str) -> StopDecision:
    """Read the return value of a user's function: whether to stop, why, or both.

    Raises:
        TypeError: If it is neither.
    """
    match value := to_plain(value):
        case bool():
            return StopDecision(value, f"{name} returned {value}")
        case str():
            return StopDecision(bool(value), value or f"{name} returned no reason to stop")
        case (bool() as stop, str() as why):
            return StopDecision(stop, why)
    raise TypeError(
        f"{name} returned {value!r}; expected True or False, a reason to stop (a text; empty for "
        "none), or both: (True, 'why')"
    )
