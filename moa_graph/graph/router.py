"""`Router`: send questions to the layers or to a single model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from moa_graph.graph.agreement import Agreement
from moa_graph.graph.chat_decider import (
    ChatDecider,
    check_chat_decider,
    is_chat_decider,
    to_agent,
)
from moa_graph.graph.node_names import FULL, check_agent_name
from moa_graph.graph.user_functions import call_step, name_function, to_plain
from moa_graph.models.agent import Agent, Model
from moa_graph.sync_async import Flow

EASY = "easy"
"""Name of the route to the single model, if `easy` has no names."""

DEFAULT_QUESTION = (
    "Who is to answer the last message of the user? Choose by how much there is to gain from "
    "asking several models."
)
DEFAULT_CRITERIA = {
    FULL: "Several models, which are slow and expensive: for what takes reasoning, judgement or "
    "care, and where it is not clear.",
    EASY: "One model: for small talk, a plain fact, a rewording, or a short and clear task.",
}


@dataclass(frozen=True)
class Router:
    """A router for `create_moa(router=...)`: easy questions go to one model, others to the layers.

    Args:
        decider: Chooses the route: a function of the messages, sync or async, that returns `True`
            for a hard question or the name of a route; a decision model of LangChain; or a chat
            model with structured output, by name or as an object.
        easy: Answers easy questions: a model, an `Agent` or another mixture; or several of them by
            name, among which the decider chooses. The route to the layers is `"full"`.
        criteria: Descriptions of the routes by name, including `"full"`, for a model as decider.
        instructions: The task of a model as decider.

    Raises:
        ValueError: If a value is invalid, LangGraph does not accept a name, or a name has no
            route.

    Example:
        ```python
        def is_hard(messages):
            return len(messages[-1].text) > 200

        moa = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus",
                         router=Router(is_hard, easy="offline:lead"))
        ```
    """

    decider: Any
    easy: Model | Agent | Mapping[str, Model | Agent] = field(kw_only=True)
    criteria: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    instructions: str = field(default=DEFAULT_QUESTION, kw_only=True)

    def __post_init__(self) -> None:
        from moa_graph.models.decisions import is_decision_model  # noqa: PLC0415  # few have one

        decider = self.decider
        if is_chat_decider(decider):
            check_chat_decider(decider)
        elif not (is_decision_model(decider) or callable(decider)):
            raise ValueError(
                f"`router`: decider {decider!r}: expected a function of the messages, a decision "
                "model, or a chat model, such as 'openai:gpt-6-luna'"
            )
        if not self.routes:
            raise ValueError(
                f"`router`: easy={self.easy!r}: expected a model, or names mapped to models"
            )
        for name in self.routes:
            _check_route_name(name)
        self._check_texts()

    def _check_texts(self) -> None:
        """Check that the texts for the decider are not empty, and that their routes exist."""
        if not isinstance(self.instructions, str) or not self.instructions.strip():
            raise ValueError(
                f"`router`: instructions={self.instructions!r}: expected a text that is not empty"
            )
        is_mapping = isinstance(self.criteria, Mapping)
        if not is_mapping or not all(isinstance(each, str) for each in self.criteria.values()):
            raise ValueError(
                f"`router`: criteria={self.criteria!r}: expected names of routes mapped to texts"
            )
        if unknown := sorted(self.criteria.keys() - {FULL, *self.routes}):
            raise ValueError(
                f"`router`: criteria for {unknown[0]!r}, which is not a route; expected one of: "
                f"{', '.join([FULL, *self.routes])}"
            )

    @property
    def routes(self) -> Mapping[str, Any]:
        """The agents that answer instead of the layers, by route."""
        if isinstance(self.easy, Mapping):
            return dict(self.easy)
        return {EASY: self.easy}

    @property
    def meanings(self) -> dict[str, str]:
        """Descriptions of the routes, by name."""
        criteria = DEFAULT_CRITERIA | dict(self.criteria)
        return {name: criteria.get(name, name) for name in (FULL, *self.routes)}

    @cached_property
    def chat_decider(self) -> ChatDecider | None:
        """The chat model that decides, if the decider is one."""
        if not is_chat_decider(self.decider):
            return None
        return ChatDecider(self.decider, self.instructions, self.meanings)

    def build_model(self) -> None:
        """Build the chat model that decides, if the decider is one.

        Raises:
            ValueError: If its key is missing, or it has no structured output.
        """
        if self.chat_decider:
            self.chat_decider.build_model()

    def choose(self, messages: Sequence[AnyMessage], config: RunnableConfig) -> Flow["ChosenRoute"]:
        """Choose the route of a conversation.

        Raises:
            Exception: Any error of the decider.
        """
        from moa_graph.models.decisions import is_decision_model  # noqa: PLC0415  # as above

        if self.chat_decider:
            return (yield from self._ask_chat_model(self.chat_decider, messages, config))
        if is_decision_model(self.decider):
            return (yield from self._ask_decision_model(messages, config))
        value = yield call_step(self.decider, list(messages))
        return self._read_choice(value)

    def _ask_decision_model(
        self, messages: Sequence[AnyMessage], config: RunnableConfig
    ) -> Flow["ChosenRoute"]:
        from moa_graph.models.decisions import DecisionQuestion, ask_decision_model  # noqa: PLC0415  # as above

        state = {"conversation": list(messages)}
        question = DecisionQuestion(self.instructions, self.meanings)
        answer = yield from ask_decision_model(self.decider, state, question, config)
        if answer.error:
            return ChosenRoute(FULL, "", answer.model, answer.usage, answer.error)
        why = f"{answer.model}: {answer.label}, confidence {answer.probability:.2f}"
        return self._read_route(answer.label, why, answer.model, answer.usage)

    def _ask_chat_model(
        self, decider: ChatDecider, messages: Sequence[AnyMessage], config: RunnableConfig
    ) -> Flow["ChosenRoute"]:
        label, answer = decider.agent.label, (yield from decider.ask(messages, config))
        if answer.error:
            return ChosenRoute(FULL, "", label, answer.usage, answer.error)
        return self._read_route(answer.route, f"{label}: {answer.route}", label, answer.usage)

    def _read_choice(self, value: Any) -> "ChosenRoute":
        """Read the return value of a user's function.

        Raises:
            TypeError: If it is neither a boolean nor the name of a route.
        """
        name = name_function(self.decider)
        names = list(self.routes)
        match value := to_plain(value):
            case str():
                return self._read_route(value, f"{name} returned {value!r}")
            case bool() if len(names) == 1:
                return self._read_route(FULL if value else names[0], f"{name} returned {value}")
        expected = "True or False, or " if len(names) == 1 else ""
        raise TypeError(
            f"{name} returned {value!r}; expected {expected}one of: {', '.join([FULL, *names])}"
        )

    def _read_route(
        self, route: Any, why: str, model: str | None = None, usage: dict[str, Any] | None = None
    ) -> "ChosenRoute":
        """Return the chosen route; if it does not exist, the tokens of the decision still count."""
        if isinstance(route, str) and route in self.meanings:
            return ChosenRoute(route, why, model, usage)
        expected = ", ".join(self.meanings)
        error = LookupError(f"no route {route!r}; expected one of: {expected}")
        return ChosenRoute(FULL, "", model, usage, error)


def name_decider(decider: Any) -> str | None:
    """Return the decision model as `provider:model`; `None` if no model decides."""
    if decider is None or isinstance(decider, (int, float, Agreement)):
        return None
    from moa_graph.models.decisions import is_decision_model, name_decision_model  # noqa: PLC0415  # as above

    if isinstance(decider, Router):
        decider = decider.decider
    if is_chat_decider(decider):
        return to_agent(decider).label
    return name_decision_model(decider) if is_decision_model(decider) else None


@dataclass(frozen=True)
class ChosenRoute:
    """The chosen route, and the reason."""

    name: str
    why: str
    model: str | None = None
    """Decision model."""
    usage: dict[str, Any] | None = None
    """Tokens of the decision model; `None` if it did not report them."""
    error: Exception | None = None
    """Why its answer is invalid; `None` if it is valid."""


def _check_route_name(name: Any) -> None:
    try:
        check_agent_name(name)
    except ValueError as error:
        raise ValueError(f"`router`: easy: {error}") from None
    if name == FULL:
        raise ValueError("`router`: easy: 'full' is the name of the layers; expected another name")
