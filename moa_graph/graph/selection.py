"""How an aggregator that selects is held to a number where its model can be."""

import math
from collections.abc import Callable
from typing import Any

from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.runnables.base import RunnableBindingBase

from moa_graph.graph.spec import AgentNode
from moa_graph.prompting.parsing import SELECTION_FIELD, SELECTION_NAME
from moa_graph.sync_async import Flow

ModelCall = Callable[[Any], Flow[Any]]
"""Calls a model with the prompt of an agent."""

MIN_FORM_TOKENS = 64
"""Tokens that an answer must be allowed for a form; a number alone takes fewer."""

_REFUSALS = {400, 404, 415, 422, 501}
"""HTTP statuses of providers that do not know what a request asks for."""


class NumberRequest:
    """Asks an agent for the number of a response.

    Models that take a `response_format` are held to a JSON schema with the numbers as its enum;
    others that can be given tools have to call one with that schema. One that refuses either is
    asked again in words alone, and from then on. So is one that may answer few tokens alone.
    """

    def __init__(self, agent_node: AgentNode) -> None:
        self.agent_node, self._is_refused = agent_node, False

    def ask(self, model: Any, count: int, call: ModelCall) -> Flow[Any]:
        """Ask for a number.

        Args:
            model: Who is asked: the agent's model.
            count: How many responses there are.
            call: Calls a model.

        Returns:
            What the model gave.
        """
        bound = None if self._is_refused else _constrain_to_numbers(self.agent_node, model, count)
        if bound is None:
            return (yield from call(model))
        try:
            return (yield from call(bound))
        except Exception as error:
            if not _is_refusal(error):
                raise
            output = yield from call(model)
            self._is_refused = True
            return output


def _constrain_to_numbers(agent_node: AgentNode, model: Any, count: int) -> Any:
    """Hold a model to the numbers; `None` where it cannot be."""
    from moa_graph.models.adapt import (  # noqa: PLC0415  # loaded with the model
        bind_call_options,
        supports_response_format,
    )

    if _max_tokens(agent_node) < MIN_FORM_TOKENS:
        return None
    schema = {
        "title": SELECTION_NAME,
        "description": "Selects the best of the numbered responses.",
        "type": "object",
        # Gemini takes an enum of texts alone.
        "properties": {
            SELECTION_FIELD: {"type": "string", "enum": [str(n) for n in range(1, count + 1)]}
        },
        "required": [SELECTION_FIELD],
        "additionalProperties": False,
    }
    if supports_response_format(model):
        named = {"name": SELECTION_NAME, "strict": True, "schema": schema}
        options: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": named}}
    elif _has_tools(model):
        return None
    else:
        options = {"tools": [schema], "tool_choice": "any"}
    try:
        return bind_call_options(model, options)
    except (NotImplementedError, ValueError):
        return None


def _max_tokens(agent_node: AgentNode) -> float:
    """Give the most tokens that an answer may have."""
    from moa_graph.models.adapt import unwrap_model  # noqa: PLC0415  # loaded with the model

    own = getattr(unwrap_model(agent_node.model), "max_tokens", None)
    limits = [each for each in (agent_node.agent.max_tokens, own) if isinstance(each, int)]
    return min(limits, default=math.inf)


def _has_tools(model: Any) -> bool:
    """Tell whether tools are bound to a model already."""
    while isinstance(model, RunnableBindingBase):
        if model.kwargs.get("tools"):
            return True
        model = model.bound
    return False


def _is_refusal(error: Exception) -> bool:
    """Tell whether a provider refused a request for what is in it."""
    status = getattr(error, "status_code", None)
    return isinstance(error, ModelInvalidRequestError) or status in _REFUSALS
