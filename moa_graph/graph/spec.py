"""Who sits where: the agents of each layer, their names, and their models."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph
from pydantic import ValidationError

from moa_graph.graph.node_names import (
    AGGREGATOR,
    check_agent_name,
    make_unique_name,
    proposer_node_name,
    slugify_label,
)
from moa_graph.graph.options import Layer
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.state import MoAState, Proposal
from moa_graph.models.agent import (
    Agent,
    Model,
    build_model,
    find_key_variable,
)
from moa_graph.models.traits import ModelTraits, traits_of
from moa_graph.prompting.refusals import MessageRoles


@dataclass(frozen=True)
class AgentNode:
    """An agent's place in the graph."""

    node: str
    """Name of the node."""
    layer: int
    """Number of the layer, from 1; the aggregator's is one more than the last."""
    name: str
    """Name of the agent in its layer."""
    agent: Agent
    reference_nodes: Sequence[str]
    """Nodes whose proposals it reads."""
    hide_tokens: bool
    """Whether `stream_mode="messages"` leaves the agent's tokens out."""
    build_models: Callable[[], Mapping[str, Runnable[Any, Any]]] = dict
    """Builds the models of all agents of the graph, once."""
    transform_messages: Callable[[Sequence[AnyMessage]], Sequence[AnyMessage]] = list
    """How it sees the conversation."""
    trim_history: bool = False
    """Whether it is not shown the oldest turns of a conversation that does not fit its model."""
    max_tool_result_tokens: int | None = None
    """Tokens beyond which it is shown the beginning of a tool's result."""
    traits: ModelTraits = field(init=False, compare=False)
    """What this process has learned of its model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "traits", traits_of(self.agent))

    def __deepcopy__(self, _: Any) -> "AgentNode":
        """Share it with a copy of the graph, as LangGraph does its functions: it never changes."""
        return self

    @property
    def is_proposer(self) -> bool:
        """Whether it is in a layer; else it is the aggregator, or one of its fallbacks."""
        return self.node != self.name

    @property
    def api_keys(self) -> list[str]:
        """The keys that the agent's model was given, to be kept out of what is stored."""
        variable = find_key_variable(self.agent)
        values = [os.environ.get(variable, "")] if variable else []
        from moa_graph.models.adapt import find_api_keys  # noqa: PLC0415  # loaded with the model

        return [*values, *find_api_keys(self.model)]

    @property
    def message_roles(self) -> MessageRoles | None:
        """Which messages its model takes, as far as that is known; `None` for any."""
        return self.agent.message_roles or self.traits.message_roles

    @property
    def model(self) -> Runnable[Any, Any]:
        """What the agent asks."""
        return self.build_models()[self.node]

    @property
    def hedge_model(self) -> Runnable[Any, Any]:
        """What the agent asks a second time, with `hedge`: its model, whose client asks once."""
        return self.build_models()[_hedge_key(self.node)]


@dataclass(frozen=True)
class LayerSpec:
    """A layer of proposers."""

    number: int
    """From 1."""
    agent_nodes: Sequence[AgentNode]
    policy: LayerPolicy

    def proposals_in(self, state: MoAState) -> dict[str, Proposal]:
        """Give the layer's proposals of a state, keyed by node."""
        proposals = state.get("proposals", {})
        return {
            agent_node.node: proposals[agent_node.node]
            for agent_node in self.agent_nodes
            if agent_node.node in proposals
        }


def resolve_agents(
    layers: Sequence[Layer],
    aggregators: Sequence[Model | Agent],
    *,
    hide_proposer_tokens: bool,
    hide_aggregator_tokens: bool = False,
    trim_history: bool = False,
    max_tool_result_tokens: int | None = None,
) -> tuple[list[list[AgentNode]], list[AgentNode]]:
    """Name and check all agents of a graph.

    Args:
        layers: The layers of proposers.
        aggregators: The aggregator, and its fallbacks.
        hide_proposer_tokens: Whether nobody sees the tokens of the proposers.
        hide_aggregator_tokens: Whether nobody sees those of the aggregators either.
        trim_history: Whether old turns that do not fit a model are left out.
        max_tool_result_tokens: Tokens beyond which a tool's result is cut; `None` for no bound.

    Returns:
        The nodes of each layer, and those of the aggregator and its fallbacks. Their models are
        built when the first is used, all together: a missing key shows before the first call.

    Raises:
        ValueError: If a layer is empty, or a name or an agent makes no sense; the message says
            where.
    """
    if isinstance(layers, (str, Mapping)) or not isinstance(layers, Sequence) or not layers:
        raise ValueError(
            f"`layers`: expected a list of layers, such as [{{'name': model}}], got {layers!r}"
        )
    layer_nodes = _resolve_layers(layers, hide_tokens=hide_proposer_tokens)
    aggregator_nodes = _resolve_aggregators(
        aggregators, layer_nodes, hide_tokens=hide_aggregator_tokens
    )
    all_nodes = [*chain.from_iterable(layer_nodes), *aggregator_nodes]
    shared: dict[str, Any] = {
        "build_models": _ModelBuilder(all_nodes),
        "trim_history": trim_history,
        "max_tool_result_tokens": max_tool_result_tokens,
    }
    return (
        [[replace(each, **shared) for each in row] for row in layer_nodes],
        [replace(each, **shared) for each in aggregator_nodes],
    )


def _hedge_key(node: str) -> str:
    return f"{node}:hedge"  # no node's name has a colon


class _ModelBuilder:
    """Builds the models of a graph once; a copy in another process builds its own."""

    def __init__(self, agent_nodes: Sequence[AgentNode]) -> None:
        self._agent_nodes = agent_nodes

    def __call__(self) -> Mapping[str, Runnable[Any, Any]]:
        return self._models

    @cached_property
    def _models(self) -> dict[str, Runnable[Any, Any]]:
        # LangChain's chat models take a while to load: not before one is built.
        from moa_graph.models.adapt import adapt_model  # noqa: PLC0415  # see above

        models = {
            each.node: adapt_model(build_model(each.agent), hidden=each.hide_tokens)
            for each in self._agent_nodes
        }
        for each in self._agent_nodes:
            if each.agent.hedge is not None:
                model = build_model(each.agent, retries=False)
                models[_hedge_key(each.node)] = adapt_model(model, hidden=each.hide_tokens)
        return models

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._agent_nodes,)


def _resolve_layers(layers: Sequence[Layer], *, hide_tokens: bool) -> list[list[AgentNode]]:
    layer_nodes: list[list[AgentNode]] = []
    reference_nodes: list[str] = []
    for number, layer in enumerate(layers, 1):
        named = _name_agents(layer, f"`layers[{number - 1}]`")
        layer_nodes.append(
            [
                AgentNode(
                    proposer_node_name(number, name),
                    number,
                    name,
                    agent,
                    reference_nodes,
                    hide_tokens,
                )
                for name, agent in named
            ]
        )
        reference_nodes = [agent_node.node for agent_node in layer_nodes[-1]]
    return layer_nodes


def _resolve_aggregators(
    aggregators: Sequence[Model | Agent],
    layer_nodes: Sequence[Sequence[AgentNode]],
    *,
    hide_tokens: bool,
) -> list[AgentNode]:
    reference_nodes = [agent_node.node for agent_node in layer_nodes[-1]]
    aggregator_nodes: list[AgentNode] = []
    for index, value in enumerate(aggregators):
        name = f"fallback_{index}" if index else AGGREGATOR
        location = f"`fallbacks[{index - 1}]`" if index else "`aggregator`"
        agent = _to_aggregator_agent(value, location)
        # What is not the streamed message itself would be seen twice: it comes whole instead.
        streams = isinstance(agent.model, str) or _streams_its_message(agent.model)
        aggregator_nodes.append(
            AgentNode(
                name,
                len(layer_nodes) + 1,
                name,
                agent,
                reference_nodes,
                hide_tokens or not streams,
            )
        )
    return aggregator_nodes


def _streams_its_message(model: Runnable[Any, Any]) -> bool:
    from moa_graph.models.adapt import returns_streamed_message  # noqa: PLC0415  # as above

    return returns_streamed_message(model)


def _to_aggregator_agent(value: Any, location: str) -> Agent:
    agent = _to_agent(value, location)
    if agent.samples != 1:
        raise ValueError(f"{location}: `samples`={agent.samples}: an aggregator is asked once")
    if agent.joint_samples:
        raise ValueError(f"{location}: `joint_samples`=True: an aggregator is asked once")
    return agent


def _name_agents(layer: Layer, location: str) -> Iterator[tuple[str, Agent]]:
    """Give each sample of each agent of a layer its name."""
    if isinstance(layer, str) or not isinstance(layer, (Mapping, Sequence)) or not layer:
        raise ValueError(
            f"{location}: expected names mapped to models, or a list of models, got {layer!r}"
        )
    given = dict(layer) if isinstance(layer, Mapping) else {}
    taken: set[Any] = set(given)
    for key, value in given.items() or enumerate(layer):
        agent = _to_agent(value, f"{location}[{key!r}]")
        name = _checked_name(key, location) if given else slugify_label(agent.label)
        for sample in range(agent.samples):
            unique = name if given and sample == 0 else make_unique_name(name, taken)
            taken.add(unique)
            yield unique, agent


def _checked_name(key: Any, location: str) -> str:
    try:
        return check_agent_name(key)
    except ValueError as error:
        raise ValueError(f"{location}: {error}") from None


def _to_agent(value: Any, location: str) -> Agent:
    if isinstance(value, StateGraph):
        value = value.compile()
    if isinstance(value, Agent):
        return value
    try:
        return Agent(model=value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{location}: {reason}") from None
