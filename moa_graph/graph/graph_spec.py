"""Resolved graph specification: agents, aggregators, layer policies and prompt layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from langgraph.graph import END
from langgraph.types import CachePolicy

from moa_graph.graph.analysis import describe_analysis
from moa_graph.graph.depth import count_effective_layers
from moa_graph.graph.depth_policy import ALL_LAYERS, DepthPolicy
from moa_graph.graph.node_names import (
    AGGREGATOR,
    VOTE,
    VOTES,
    layer_aggregator_name,
    parse_helper_role,
)
from moa_graph.graph.options import Aggregation
from moa_graph.graph.router import Router
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.voting import Vote
from moa_graph.graph.windows import Window
from moa_graph.prompting.layout import PromptLayout


@dataclass(frozen=True)
class GraphSpec:
    """A resolved graph: the agents and policy of each layer, the aggregators, the prompt layout."""

    layers: Sequence[LayerSpec]
    aggregators: Sequence[AgentNode]
    """The aggregator and its fallbacks; empty for a graph of layers only."""
    layout: PromptLayout
    aggregation: Aggregation = "synthesize"
    cache_policy: CachePolicy[Any] | None = None
    windows: Sequence[Window] = ()
    """Windows before that of the aggregator, with `aggregation="sequential"`."""
    depth_policy: DepthPolicy = ALL_LAYERS
    router: Router | None = None
    routes: Mapping[str, AgentNode] = field(default_factory=dict)
    """Agents that answer instead of the layers, by route."""
    vote: Vote | None = None
    """The vote, with `aggregation="vote"`."""
    analyst: LayerSpec | None = None
    """The agent that compares the proposals, with `analysis`."""

    def __deepcopy__(self, _: Any) -> "GraphSpec":
        """Share the specification with a copy of the graph: it is immutable."""
        return self

    @property
    def helper_nodes(self) -> list[str]:
        """Nodes that call a model between the last layer and the aggregator."""
        windows = [window.node for window in self.windows]
        analysts = [each.node for each in self.analyst.agent_nodes] if self.analyst else []
        return [*windows, *(self.vote.nodes if self.vote else ()), *analysts]

    @property
    def deciding_nodes(self) -> list[str]:
        """Layer aggregators that call a decision model."""
        numbers = [each.number for each in self.layers[:-1]] if self.depth_policy.decider else []
        return [layer_aggregator_name(number) for number in numbers]

    @property
    def picks(self) -> bool:
        """Whether the answer is one of the proposals, and no aggregator writes it."""
        return self.aggregation == "select" or (self.vote is not None and self.vote.decides)

    @property
    def may_skip_layers(self) -> bool:
        """Whether the aggregator may run before all layers have run."""
        return self.depth_policy.is_active or self.router is not None

    @property
    def last_node(self) -> str:
        """The last node before the aggregator."""
        if self.vote and not self.analyst:
            return VOTES
        return [layer_aggregator_name(len(self.layers)), *self.helper_nodes][-1]

    def find_next_nodes(self, state: Mapping[str, Any]) -> list[str]:
        """Return the nodes that run next when all layers have run."""
        if self.vote and (missing := self.vote.find_missing(state)):
            return missing
        chain = [node for node in self.helper_nodes if parse_helper_role(node) != VOTE]
        positions = [place for place, node in enumerate(chain, 1) if node in state["proposals"]]
        return [*chain, AGGREGATOR][max(positions, default=0) :][:1]

    @property
    def answer_node(self) -> str:
        """The node after the layers; the end of a graph of layers only."""
        return AGGREGATOR if self.aggregators else END

    @property
    def answer_agents(self) -> Sequence[AgentNode]:
        """Agents that run first after the last layer."""
        if self.vote:
            return self.vote.layer_spec.agent_nodes
        return self.windows[0].writers[:1] if self.windows else self.last_agents

    @property
    def last_agents(self) -> Sequence[AgentNode]:
        """Agents that run after windows and votes."""
        return (self.analyst.agent_nodes if self.analyst else self.aggregators)[:1]

    def describe(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of the run summary beside its calls."""
        is_whole = count_effective_layers(state, self.layers) == len(self.layers)
        details: dict[str, Any] = {"vote": self.vote.count(state)} if self.vote and is_whole else {}
        if self.analyst:
            replaces = self.aggregators[0].selector.replaces
            details["analysis"] = describe_analysis(state, replaces=replaces)
        return details

    @property
    def answer_readers(self) -> Sequence[AgentNode]:
        """All agents that read the last layer, including fallbacks."""
        voters = self.vote.layer_spec.agent_nodes if self.vote else ()
        writers = chain(*(window.writers for window in self.windows))
        analysts = self.analyst.agent_nodes if self.analyst else ()
        return [*voters, *writers, *analysts, *self.aggregators]

    def find_agent_node(self, node: str) -> AgentNode | None:
        """Return the agent of a node."""
        agent_nodes = chain(
            *(layer_spec.agent_nodes for layer_spec in self.layers), self.answer_readers
        )
        return next((agent_node for agent_node in agent_nodes if agent_node.node == node), None)

    @property
    def writers(self) -> Sequence[AgentNode]:
        """All agents that may write the answer."""
        return [*self.aggregators, *self.routes.values()]
