"""A single model as a system of a comparison."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Self

from langchain_core.runnables import Runnable
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import Field

from moa_graph.config.model import MoAConfig
from moa_graph.graph.aggregator import aggregator_node
from moa_graph.graph.builder import MoAGraph
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState, MoAState
from moa_graph.models.adapt import adapt_model
from moa_graph.models.agent import Agent, build_model
from moa_graph.prompting.layout import PromptLayout

_SHARED_OPTIONS = ("temperature", "max_tokens", "prices")
_PICKER = "offline:lead"
"""In version 0.1, a single model was a proposer, and this agent picked its proposal."""


class SingleModel(MoAConfig):
    """A mixture without layers; in the paper's count it has one layer, the aggregator."""

    layers: list[dict[str, Any]] = Field(default=[], max_length=0)

    @classmethod
    def from_agent(cls, name: str, agent: Agent, base: MoAConfig | None = None) -> Self:
        """Create a system of one model.

        Args:
            name: Name of the system.
            agent: The model.
            base: A mixture with default temperature, tokens and prices.
        """
        shared = {name: getattr(base, name) for name in _SHARED_OPTIONS} if base else {}
        return cls(name=name, aggregator=agent, **shared)

    def graph(self, **_: Any) -> MoAGraph:
        """Create the graph with one node that calls the model."""
        return SingleModelGraph(self.with_defaults().aggregator)


class SingleModelGraph(MoAGraph):
    """A graph with only the aggregator, which reads the conversation without references."""

    def __init__(self, agent: Agent) -> None:
        @cache
        def build_models() -> Mapping[str, Runnable[Any, Any]]:
            return {AGGREGATOR: adapt_model(build_model(agent), hidden=True)}

        # A node of the first layer reads no references.
        agent_node = AgentNode(
            AGGREGATOR, 1, AGGREGATOR, agent, (), hide_tokens=True, build_models=build_models
        )
        layout = PromptLayout("")
        StateGraph.__init__(self, MoAState, input_schema=MessagesState)
        self.spec = GraphSpec([], [agent_node], layout)
        self.add_node(
            AGGREGATOR, aggregator_node([agent_node], [], layout), input_schema=LayerState
        )
        self.add_edge(START, AGGREGATOR)
        self.add_edge(AGGREGATOR, END)


def read_stored_config(options: Mapping[str, Any]) -> MoAConfig:
    """Return the mixture or the single model of a manifest, also of version 0.1.

    Raises:
        ValueError: If it is neither.
    """
    layers = options["layers"]
    if not layers:
        return SingleModel.model_validate(options)
    if not _has_picker(layers, options):
        return MoAConfig.model_validate(options)
    (agent,) = layers[0].values()
    shared = {name: options.get(name) for name in ("name", *_SHARED_OPTIONS)}
    return SingleModel.model_validate({**shared, "aggregator": agent})


def _has_picker(layers: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> bool:
    only_agent = len(layers) == 1 and len(layers[0]) == 1
    picks = options.get("aggregation") == "select" and not options.get("fallbacks")
    return only_agent and picks and options["aggregator"].get("model") == _PICKER
