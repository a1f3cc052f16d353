"""Resolved agents of a graph: layers, aggregators, voters and routes with their models."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import Runnable

from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.reference_selection import ALL_REFERENCES, DrawnReferences, ReferenceSelector
from moa_graph.graph.state import LayerState, MoAState, Proposal
from moa_graph.models.agent import Agent, find_key_variable
from moa_graph.models.traits import ModelTraits, traits_of
from moa_graph.prompting.refusals import MessageRoles

BuildModels = Callable[[], Mapping[str, Runnable[Any, Any]]]
"""Builds models once, and returns them keyed by node."""


@dataclass(frozen=True)
class AgentNode:
    """An agent as a node of the graph."""

    node: str
    """Name of the node."""
    layer: int
    """Number of the layer, from 1; for the aggregator, one more than that of the last layer."""
    name: str
    """Name of the agent in its layer."""
    agent: Agent
    reference_nodes: Sequence[str]
    """Nodes whose proposals the agent may read."""
    hide_tokens: bool
    """Whether `stream_mode="messages"` leaves out the agent's tokens."""
    build_models: BuildModels = dict
    """Builds the models of all agents of the graph, once."""
    transform_messages: Callable[[Sequence[AnyMessage]], Sequence[AnyMessage]] = list
    """How the conversation is presented to the agent."""
    trim_history: bool = False
    """Whether the oldest turns are left out if the conversation does not fit the model."""
    max_tool_result_tokens: int | None = None
    """Tokens beyond which a tool result is truncated."""
    selector: ReferenceSelector = ALL_REFERENCES
    """Selects and orders the proposals to read."""
    traits: ModelTraits = field(init=False, compare=False)
    """Traits of the model that this process has observed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "traits", traits_of(self.agent))

    def __deepcopy__(self, _: Any) -> "AgentNode":
        """Share the node with a copy of the graph, as LangGraph does functions: it is immutable."""
        return self

    @property
    def is_proposer(self) -> bool:
        """Whether the agent is a proposer and not the aggregator or a fallback."""
        return self.node != self.name

    def draw_references(self, state: LayerState) -> DrawnReferences | None:
        """Draw the references; `None` if the agent reads all in configured order."""
        return self.selector.draw(self.node, self.reference_nodes, state)

    def nodes_to_read(self, state: LayerState) -> Sequence[str]:
        """Return the nodes whose proposals the agent reads, in order."""
        draw = self.draw_references(state)
        return draw.nodes if draw else self.reference_nodes

    @property
    def api_keys(self) -> list[str]:
        """API keys of the agent's model, for redaction."""
        variable = find_key_variable(self.agent)
        values = [os.environ.get(variable, "")] if variable else []
        from moa_graph.models.adapt import find_api_keys

        return [*values, *find_api_keys(self.model)]

    @property
    def message_roles(self) -> MessageRoles | None:
        """Message roles that the model accepts, if restricted; `None` for any."""
        return self.agent.message_roles or self.traits.message_roles

    @property
    def model(self) -> Runnable[Any, Any]:
        """The model of the agent."""
        return self.build_models()[self.node]

    @property
    def hedge_model(self) -> Runnable[Any, Any]:
        """The model for the second request of a hedge; its client does not retry."""
        return self.build_models()[hedge_key(self.node)]


@dataclass(frozen=True)
class LayerSpec:
    """A layer of proposers."""

    number: int
    """Number of the layer, from 1."""
    agent_nodes: Sequence[AgentNode]
    policy: LayerPolicy

    def proposals_in(self, state: MoAState) -> dict[str, Proposal]:
        """Return the layer's proposals from a state, keyed by node."""
        proposals = state.get("proposals", {})
        return {
            agent_node.node: proposals[agent_node.node]
            for agent_node in self.agent_nodes
            if agent_node.node in proposals
        }


def with_view(
    layer_specs: Sequence[LayerSpec],
    view: Callable[[Sequence[AnyMessage]], Sequence[AnyMessage]],
) -> list[LayerSpec]:
    """Copy layers with another view of the conversation for the proposers."""
    return [
        replace(
            layer_spec,
            agent_nodes=[replace(each, transform_messages=view) for each in layer_spec.agent_nodes],
        )
        for layer_spec in layer_specs
    ]


def hedge_key(node: str) -> str:
    """Return the key of the model for the second request of a hedge."""
    return f"{node}:hedge"  # node names have no colon
