"""`Router`: send questions to the layers or to a single model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, get_buffer_string
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from pydantic import ValidationError

from moa_graph.graph.agreement import Agreement
from moa_graph.graph.early_stop import call_step, name_function, to_plain
from moa_graph.graph.node_names import FULL, check_agent_name
from moa_graph.models.agent import Agent, Model
from moa_graph.models.pricing import is_free_model
from moa_graph.prompting.tokens import truncate_text
from moa_graph.sync_async import Flow, Step

EASY = "easy"
"""Name of the route to the single model, if `easy` has no names."""

MAX_QUESTION_TOKENS = 8_192
"""Estimated tokens at the end of a conversation that a chat model reads to decide."""

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
            _check_chat_agent(decider)
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
        told = DEFAULT_CRITERIA | dict(self.criteria)
        return {name: told.get(name, name) for name in (FULL, *self.routes)}

    @property
    def chat_agent(self) -> Agent | None:
        """The chat model that decides, if the decider is one."""
        return _to_agent(self.decider) if is_chat_decider(self.decider) else None

    def build_model(self) -> None:
        """Build the chat model that decides, if the decider is one.

        Raises:
            ValueError: If its key is missing, or it has no structured output.
        """
        if not is_chat_decider(self.decider):
            return
        try:
            _ = self._structured_model
        except NotImplementedError:
            raise _no_structured_output(self.decider) from None

    @cached_property
    def _structured_model(self) -> Any:
        """The chat model that decides, restricted to the names of the routes."""
        from moa_graph.models.adapt import adapt_model  # noqa: PLC0415  # loaded with the model
        from moa_graph.models.agent import build_model  # noqa: PLC0415  # likewise

        model: Any = build_model(_to_agent(self.decider))
        schema = {
            "title": "choose_route",
            "description": "Chooses who answers.",
            "type": "object",
            "properties": {"route": {"type": "string", "enum": list(self.meanings)}},
            "required": ["route"],
            "additionalProperties": False,
        }
        adapted: Any = adapt_model(model, hidden=True)
        chat_model = adapted if hasattr(adapted, "with_structured_output") else model
        return chat_model.with_structured_output(schema, include_raw=True)

    def choose(self, messages: Sequence[AnyMessage], config: RunnableConfig) -> Flow["ChosenRoute"]:
        """Choose the route of a conversation.

        Raises:
            Exception: Any error of the decider.
        """
        from moa_graph.models.decisions import is_decision_model  # noqa: PLC0415  # as above

        if is_chat_decider(self.decider):
            return (yield from self._ask_chat_model(messages, config))
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
        self, messages: Sequence[AnyMessage], config: RunnableConfig
    ) -> Flow["ChosenRoute"]:
        from moa_graph.prompting import parsing  # noqa: PLC0415  # few have such a router

        lines = [f"- {name}: {meaning}" for name, meaning in self.meanings.items()]
        system = "\n".join([self.instructions, "The routes are:", *lines])
        text = get_buffer_string(messages)[::-1]
        end = truncate_text(text, MAX_QUESTION_TOKENS)[0][::-1]
        prompt = [SystemMessage(system), HumanMessage(f"The conversation:\n\n{end}")]
        tags = [*(config.get("tags") or ()), TAG_NOSTREAM]
        model = self._structured_model
        output = yield Step(model.invoke, model.ainvoke, (prompt, {**config, "tags": tags}))
        parsed = output["parsed"]
        route = parsed.get("route") if isinstance(parsed, Mapping) else parsed
        label, usage = _to_agent(self.decider).label, parsing.sum_usage(output["raw"])
        if error := output["parsing_error"]:  # its tokens count all the same
            return ChosenRoute(FULL, "", label, usage, error)
        return self._read_route(route, f"{label}: {route}", label, usage)

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


def is_chat_decider(decider: Any) -> bool:
    """Return whether a chat model decides: given by name, as an agent, or as an object."""
    from moa_graph.models.decisions import is_decision_model  # noqa: PLC0415  # as above

    if is_decision_model(decider):
        return False
    return isinstance(decider, (str, Agent)) or hasattr(decider, "with_structured_output")


def _to_agent(decider: Any) -> Agent:
    return decider if isinstance(decider, Agent) else Agent.model_validate({"model": decider})


def _check_chat_agent(decider: Any) -> None:
    """Check that a chat model can decide.

    Raises:
        ValueError: If it cannot.
    """
    try:
        agent = _to_agent(decider)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"`router`: decider {decider!r}: {reason}") from None
    if is_free_model(agent.label):
        raise _no_structured_output(decider)
    if agent.samples != 1:
        raise ValueError(f"`router`: decider: `samples`={agent.samples}: a decider is called once")


def _no_structured_output(decider: Any) -> ValueError:
    return ValueError(
        f"`router`: decider {decider!r}: has no structured output; expected a chat model that has "
        "it, such as 'openai:gpt-6-luna'"
    )


def name_decider(decider: Any) -> str | None:
    """Return the decision model as `provider:model`; `None` if no model decides."""
    if decider is None or isinstance(decider, (int, float, Agreement)):
        return None
    from moa_graph.models.decisions import is_decision_model, name_decision_model  # noqa: PLC0415  # as above

    if isinstance(decider, Router):
        decider = decider.decider
    if is_chat_decider(decider):
        return _to_agent(decider).label
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
