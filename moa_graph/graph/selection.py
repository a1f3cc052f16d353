"""Enforce the format of a reply, such as the number of a response, through the provider."""

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
"""Minimum `max_tokens` for structured output; a plain number takes fewer."""

_REFUSALS = {400, 404, 415, 422, 501}
"""HTTP statuses with which providers reject unsupported parameters."""


class FormRequest:
    """Requests structured output from an agent.

    Models with `response_format` are restricted to its JSON schema. Other models with tools must
    call a tool with that schema. If a model rejects both, this call and all later ones use the
    prompt alone. So do calls with a small `max_tokens`.
    """

    def __init__(self, agent_node: AgentNode, min_tokens: int = MIN_FORM_TOKENS) -> None:
        self.agent_node, self._min_tokens = agent_node, min_tokens

    def fill(self, model: Any, schema: dict[str, Any], call: ModelCall) -> Flow[Any]:
        """Call a model for structured output.

        Args:
            model: The agent's model.
            schema: The JSON schema, with its name as `title`.
            call: Calls a model.

        Returns:
            The output of the model.
        """
        may_answer = _max_tokens(self.agent_node) >= self._min_tokens
        bound = (
            _constrain_to_schema(model, schema)
            if may_answer and not self.agent_node.traits.refuses_forms
            else None
        )
        if bound is None:
            return (yield from call(model))
        try:
            return (yield from call(bound))
        except Exception as error:
            if not _is_refusal(error):
                raise
            output = yield from call(model)
            self.agent_node.traits.refuses_forms = True
            return output


class NumberRequest(FormRequest):
    """Requests the number of a response: the schema has the numbers as its enum."""

    def ask(self, model: Any, count: int, call: ModelCall) -> Flow[Any]:
        """Call a model for a number.

        Args:
            model: The agent's model.
            count: Number of responses.
            call: Calls a model.

        Returns:
            The output of the model.
        """
        return self.fill(model, _number_schema(count), call)


def _number_schema(count: int) -> dict[str, Any]:
    return {
        "title": SELECTION_NAME,
        "description": "Selects the best of the numbered responses.",
        "type": "object",
        # Gemini accepts only strings in an enum.
        "properties": {
            SELECTION_FIELD: {"type": "string", "enum": [str(n) for n in range(1, count + 1)]}
        },
        "required": [SELECTION_FIELD],
        "additionalProperties": False,
    }


def _constrain_to_schema(model: Any, schema: dict[str, Any]) -> Any:
    """Bind a schema to a model; `None` if the model supports no structured output."""
    from moa_graph.models.adapt import (
        bind_call_options,
        supports_response_format,
    )

    if supports_response_format(model):
        named = {"name": schema["title"], "strict": True, "schema": schema}
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
    """Return the maximum number of tokens of an answer."""
    from moa_graph.models.adapt import unwrap_model

    own = getattr(unwrap_model(agent_node.model), "max_tokens", None)
    limits = [each for each in (agent_node.agent.max_tokens, own) if isinstance(each, int)]
    return min(limits, default=math.inf)


def _has_tools(model: Any) -> bool:
    """Return whether tools are already bound to a model."""
    while isinstance(model, RunnableBindingBase):
        if model.kwargs.get("tools"):
            return True
        model = model.bound
    return False


def _is_refusal(error: Exception) -> bool:
    """Return whether a provider rejected the parameters of a request."""
    status = getattr(error, "status_code", None)
    return isinstance(error, ModelInvalidRequestError) or status in _REFUSALS
