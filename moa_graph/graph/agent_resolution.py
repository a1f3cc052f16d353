"""Name and check the agents that are passed to `create_moa`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph
from pydantic import ValidationError

from moa_graph.graph.model_builder import ModelBuilder
from moa_graph.graph.node_names import (
    AGGREGATOR,
    check_agent_name,
    make_unique_name,
    proposer_node_name,
    route_node_name,
    slugify_label,
)
from moa_graph.graph.option_checks import check_has_readers
from moa_graph.graph.options import Layer, LayerOptions, NoLayers
from moa_graph.graph.reference_selection import ReferenceSelector
from moa_graph.graph.spec import AgentNode
from moa_graph.models.agent import Agent, Model


def resolve_agents(
    layers: Sequence[Layer],
    aggregators: Sequence[Model | Agent],
    *,
    hide_proposer_tokens: bool,
    hide_aggregator_tokens: bool = False,
    trim_history: bool = False,
    max_tool_result_tokens: int | None = None,
    keep_reasoning: bool = False,
) -> tuple[list[list[AgentNode]], list[AgentNode]]:
    """Name and check all agents of a graph.

    Args:
        layers: The layers of proposers.
        aggregators: The aggregator and its fallbacks.
        hide_proposer_tokens: Whether streams leave out the tokens of proposers.
        hide_aggregator_tokens: Whether streams also leave out the tokens of aggregators.
        trim_history: Whether old turns that do not fit a model are left out.
        max_tool_result_tokens: Tokens beyond which a tool result is truncated; `None` for no
            limit.
        keep_reasoning: Whether proposals include the reasoning that providers return separately.

    Returns:
        The nodes of each layer, and those of the aggregator and its fallbacks. All models are
        built at the first use of one, so a missing key is reported before the first call.

    Raises:
        ValueError: If a layer is empty, or a name or an agent is invalid; the message says where.
    """
    is_list = isinstance(layers, Sequence) and not isinstance(layers, str)
    if not is_list or not (layers or isinstance(layers, NoLayers)):
        raise ValueError(
            f"`layers`: expected a list of layers, such as [{{'name': model}}], got {layers!r}"
        )
    layer_nodes = _resolve_layers(layers, hide_tokens=hide_proposer_tokens)
    aggregator_nodes = _resolve_aggregators(
        aggregators, layer_nodes, hide_tokens=hide_aggregator_tokens
    )
    all_nodes = [*chain.from_iterable(layer_nodes), *aggregator_nodes]
    shared: dict[str, Any] = {
        "build_models": ModelBuilder(all_nodes, keep_reasoning=keep_reasoning),
        "trim_history": trim_history,
        "max_tool_result_tokens": max_tool_result_tokens,
    }
    return (
        [[replace(each, **shared) for each in row] for row in layer_nodes],
        [replace(each, **shared) for each in aggregator_nodes],
    )


def resolve_routes(routes: Mapping[str, Model | Agent]) -> dict[str, AgentNode]:
    """Name and check the agents that answer instead of the layers, keyed by route.

    Raises:
        ValueError: If an agent is invalid; the message says where.
    """
    agent_nodes = dict[str, AgentNode]()
    for route, value in routes.items():
        agent = _to_aggregator_agent(value, f"`router`: easy[{route!r}]")
        streams = isinstance(agent.model, str) or _streams_its_message(agent.model)
        name = route_node_name(route)
        agent_nodes[route] = AgentNode(name, 1, name, agent, (), hide_tokens=not streams)
    builder = ModelBuilder(list(agent_nodes.values()))
    return {name: replace(each, build_models=builder) for name, each in agent_nodes.items()}


def set_selectors(
    layers: Sequence[Sequence[AgentNode]], aggregators: Sequence[AgentNode], options: LayerOptions
) -> tuple[list[list[AgentNode]], list[AgentNode]]:
    """Set which proposals of the layer before each agent reads.

    Raises:
        ValueError: If no agent reads drawn proposals.
    """
    limit = options.references_per_reader
    check_has_readers(limit, len(layers))
    for_aggregators = ReferenceSelector(is_shuffled=options.order == "shuffled")
    for_proposers = replace(for_aggregators, limit=limit)
    return (
        [[replace(each, selector=for_proposers) for each in row] for row in layers],
        [replace(each, selector=for_aggregators) for each in aggregators],
    )


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
    reference_nodes = [each.node for row in layer_nodes[-1:] for each in row]
    aggregator_nodes: list[AgentNode] = []
    for index, value in enumerate(aggregators):
        name = f"fallback_{index}" if index else AGGREGATOR
        location = f"`fallbacks[{index - 1}]`" if index else "`aggregator`"
        agent = _to_aggregator_agent(value, location)
        # LangGraph would stream a converted message twice, so its tokens are hidden.
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


def resolve_voters(voters: Layer, like: AgentNode) -> list[tuple[str, AgentNode]]:
    """Name and check the voters.

    Args:
        voters: The voters, in the form of a layer.
        like: A proposer whose graph-wide settings the voters get.

    Raises:
        ValueError: As `resolve_agents`.
    """
    named = _name_agents(voters, "`voters`")
    return [(name, replace(like, node="", agent=agent)) for name, agent in named]


def _streams_its_message(model: Runnable[Any, Any]) -> bool:
    from moa_graph.models.adapt import returns_streamed_message  # noqa: PLC0415  # as above

    return returns_streamed_message(model)


def _to_aggregator_agent(value: Any, location: str) -> Agent:
    agent = to_agent(value, location)
    if agent.samples != 1:
        raise ValueError(f"{location}: `samples`={agent.samples}: an aggregator is called once")
    if agent.joint_samples:
        raise ValueError(f"{location}: `joint_samples`=True: an aggregator is called once")
    return agent


def _name_agents(layer: Layer, location: str) -> Iterator[tuple[str, Agent]]:
    """Name each sample of each agent of a layer."""
    if isinstance(layer, str) or not isinstance(layer, (Mapping, Sequence)) or not layer:
        raise ValueError(
            f"{location}: expected names mapped to models, or a list of models, got {layer!r}"
        )
    given = dict(layer) if isinstance(layer, Mapping) else {}
    taken: set[Any] = set(given)
    for key, value in given.items() or enumerate(layer):
        agent = to_agent(value, f"{location}[{key!r}]")
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


def to_agent(value: Any, location: str) -> Agent:
    """Return the agent that a value describes.

    Raises:
        ValueError: If it is not an agent.
    """
    if isinstance(value, StateGraph):
        value = value.compile()
    if isinstance(value, Agent):
        return value
    try:
        return Agent.model_validate({"model": value})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{location}: {reason}") from None
