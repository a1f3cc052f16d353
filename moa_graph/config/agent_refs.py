"""Resolve names of agents in layers to the entries of `[agents]`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moa_graph.graph.node_names import make_unique_name, slugify_label
from moa_graph.models.agent import Agent
from moa_graph.validation_errors import suggest_name


@dataclass(frozen=True)
class InvalidAgent:
    """A value that is no agent, in the place of one.

    `read_agent` reports it where pydantic knows its location, beside other mistakes.
    """

    message: str


def read_agent(value: Any) -> Any:
    """Return the table of an agent for a `provider:model`.

    Raises:
        ValueError: If the value could not be resolved.
    """
    if isinstance(value, InvalidAgent):
        raise ValueError(value.message)  # noqa: TRY004  # pydantic reports it
    return {"model": value} if isinstance(value, str) else value


def resolve_layer(layer: Any, agents: Mapping[str, Any]) -> Any:
    """Look up the agents of a layer in `[agents]`, and name those of a list."""
    if isinstance(layer, Mapping):
        return {name: resolve_agent(agent, agents) for name, agent in layer.items()}
    if not isinstance(layer, list):
        return layer
    named: dict[str, Any] = {}
    for index, agent in enumerate(layer):
        resolved = resolve_agent(agent, agents)
        named_above = isinstance(agent, str) and agent in agents
        base = str(agent) if named_above else slugify_label(_model_label(agent))
        name = make_unique_name(base, named)
        named[f"[{index}]" if isinstance(resolved, InvalidAgent) else name] = resolved
    return named


def resolve_agent(agent: Any, agents: Mapping[str, Any]) -> Any:
    """Look up a string that is not `provider:model` in `[agents]`."""
    if not isinstance(agent, (str, Mapping, Agent)):
        return InvalidAgent(
            f"expected 'provider:model', a name in `agents` or a table, got {agent!r}"
        )
    if not isinstance(agent, str) or ":" in agent:
        return agent
    if agent not in agents:
        accepted = f"one of {', '.join(agents)}" if agents else "a name in `agents`"
        suggestion = suggest_name(agent, agents)
        return InvalidAgent(f"expected 'provider:model' or {accepted}, got {agent!r}{suggestion}")
    return agents[agent]


def _model_label(agent: Any) -> str:
    if isinstance(agent, Agent):
        return agent.label
    model = agent.get("model") if isinstance(agent, Mapping) else agent
    return model if isinstance(model, str) else "model"
