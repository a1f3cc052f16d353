"""Resolve names of agents in layers to the entries of `[agents]`."""

from collections.abc import Mapping
from typing import Any

from moa_graph.graph.node_names import make_unique_name, slugify_label
from moa_graph.graph.options import suggest_name
from moa_graph.models.agent import Agent


def resolve_layer(layer: Any, agents: Mapping[str, Any], location: str) -> Any:
    """Look up the agents of a layer in `[agents]`, and name those of a list.

    Raises:
        ValueError: If one is not an agent; the message begins with its location.
    """
    if isinstance(layer, Mapping):
        return {
            name: resolve_agent(agent, agents, f"{location}.{name}")
            for name, agent in layer.items()
        }
    if not isinstance(layer, list):
        return layer
    named: dict[str, Any] = {}
    for index, agent in enumerate(layer):
        named_above = isinstance(agent, str) and agent in agents
        base = str(agent) if named_above else slugify_label(_model_label(agent))
        named[make_unique_name(base, named)] = resolve_agent(agent, agents, f"{location}[{index}]")
    return named


def resolve_agent(agent: Any, agents: Mapping[str, Any], location: str) -> Any:
    """Look up a string that is not `provider:model` in `[agents]`.

    Raises:
        ValueError: If there is no such agent; the message begins with its location.
    """
    if not isinstance(agent, (str, Mapping, Agent)):
        raise ValueError(  # noqa: TRY004  # pydantic reports it
            f"{location}: expected 'provider:model', a name in `agents` or a table, got {agent!r}"
        )
    if not isinstance(agent, str) or ":" in agent:
        return agent
    if agent not in agents:
        accepted = f"one of {', '.join(agents)}" if agents else "a name in `agents`"
        suggestion = suggest_name(agent, agents)
        raise ValueError(
            f"{location}: expected 'provider:model' or {accepted}, got {agent!r}{suggestion}"
        )
    return agents[agent]


def _model_label(agent: Any) -> str:
    if isinstance(agent, Agent):
        return agent.label
    model = agent.get("model") if isinstance(agent, Mapping) else agent
    return model if isinstance(model, str) else "model"
