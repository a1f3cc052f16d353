"""`ChatDecider`: a chat model that chooses the route of a question, by structured output."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, get_buffer_string
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from pydantic import ValidationError

from moa_graph.models.agent import Agent
from moa_graph.models.pricing import is_free_model
from moa_graph.prompting.tokens import truncate_text
from moa_graph.sync_async import Flow, Step

MAX_QUESTION_TOKENS = 8_192
"""Estimated tokens at the end of a conversation that the model reads."""


class ChatDecision(NamedTuple):
    """The answer of a chat model."""

    route: Any
    """The chosen route; a model may return anything."""
    usage: dict[str, Any] | None
    """Its tokens; `None` if it did not report them."""
    error: Exception | None = None
    """Why its answer cannot be parsed; `None` if it can. The tokens count in both cases."""


class ChatDecider:
    """A chat model that chooses among routes."""

    def __init__(self, decider: Any, instructions: str, meanings: Mapping[str, str]) -> None:
        """Store the question.

        Args:
            decider: The chat model: its name, an `Agent` or an object.
            instructions: The task.
            meanings: Descriptions of the routes, by name.
        """
        self.agent, self._instructions, self._meanings = to_agent(decider), instructions, meanings
        self._decider = decider

    def build_model(self) -> None:
        """Build the model.

        Raises:
            ValueError: If its key is missing, or it has no structured output.
        """
        try:
            _ = self._structured_model
        except NotImplementedError:
            raise _no_structured_output(self._decider) from None

    def ask(self, messages: Sequence[AnyMessage], config: RunnableConfig) -> Flow[ChatDecision]:
        """Ask the model for the route of a conversation."""
        from moa_graph.prompting import parsing  # noqa: PLC0415  # few have such a router

        tags = [*(config.get("tags") or ()), TAG_NOSTREAM]
        model, prompt = self._structured_model, self._build_prompt(messages)
        output = yield Step(model.invoke, model.ainvoke, (prompt, {**config, "tags": tags}))
        parsed = output["parsed"]
        route = parsed.get("route") if isinstance(parsed, Mapping) else parsed
        return ChatDecision(route, parsing.sum_usage(output["raw"]), output["parsing_error"])

    def _build_prompt(self, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        lines = [f"- {name}: {meaning}" for name, meaning in self._meanings.items()]
        system = "\n".join([self._instructions, "The routes are:", *lines])
        text = get_buffer_string(messages)[::-1]
        end = truncate_text(text, MAX_QUESTION_TOKENS)[0][::-1]
        return [SystemMessage(system), HumanMessage(f"The conversation:\n\n{end}")]

    @cached_property
    def _structured_model(self) -> Any:
        """The model, restricted to the names of the routes."""
        from moa_graph.models.adapt import adapt_model  # noqa: PLC0415  # loaded with the model
        from moa_graph.models.agent import build_model  # noqa: PLC0415  # likewise

        model: Any = build_model(self.agent)
        schema = {
            "title": "choose_route",
            "description": "Chooses who answers.",
            "type": "object",
            "properties": {"route": {"type": "string", "enum": list(self._meanings)}},
            "required": ["route"],
            "additionalProperties": False,
        }
        adapted: Any = adapt_model(model, hidden=True)
        chat_model = adapted if hasattr(adapted, "with_structured_output") else model
        return chat_model.with_structured_output(schema, include_raw=True)


def is_chat_decider(decider: Any) -> bool:
    """Return whether a chat model decides: given by name, as an agent, or as an object."""
    from moa_graph.models.decisions import is_decision_model  # noqa: PLC0415  # few have one

    if is_decision_model(decider):
        return False
    return isinstance(decider, (str, Agent)) or hasattr(decider, "with_structured_output")


def to_agent(decider: Any) -> Agent:
    """Return a chat model as an agent."""
    return decider if isinstance(decider, Agent) else Agent.model_validate({"model": decider})


def check_chat_decider(decider: Any) -> None:
    """Check that a chat model can decide.

    Raises:
        ValueError: If it cannot.
    """
    try:
        agent = to_agent(decider)
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
