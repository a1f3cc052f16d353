"""Add the nodes and edges of a mixture to a graph."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy

from moa_graph.graph.aggregator import aggregator_node
from moa_graph.graph.analysis import AnalystAttempt
from moa_graph.graph.depth_policy import ALL_LAYERS
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.layer_aggregator import layer_aggregator_node, layer_router
from moa_graph.graph.node_names import AGGREGATOR, DECIDER, ROUTER, VOTES, layer_aggregator_name
from moa_graph.graph.node_runnable import StateNode
from moa_graph.graph.proposer import proposer_node
from moa_graph.graph.router import Router, name_decider
from moa_graph.graph.router_node import router_edges, router_node
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import LayerState, MoAState
from moa_graph.graph.vote_nodes import VoterAttempt, make_pick
from moa_graph.graph.window_nodes import window_node

MoAStateGraph = StateGraph[MoAState, Any, Any, MoAState]  # the context belongs to the caller


def add_nodes(builder: MoAStateGraph, spec: GraphSpec) -> None:
    """Add all nodes of a mixture to a graph."""
    add_layers(builder, spec)
    add_helpers(builder, spec)
    add_answer_node(builder, spec, spec.cache_policy)


def add_helpers(builder: MoAStateGraph, spec: GraphSpec) -> None:
    """Add the nodes between the last layer and the aggregator."""
    _add_windows(builder, spec)
    _add_vote(builder, spec)
    _add_analysis(builder, spec)


def add_layers(
    builder: MoAStateGraph, spec: GraphSpec, schema: type[LayerState] = LayerState
) -> None:
    """Add the layers after the start of a graph; without aggregators, the last one ends it.

    Args:
        builder: The graph.
        spec: The graph specification.
        schema: State schema of the proposers.
    """
    for layer_spec, following in pairwise(spec.layers):
        readers = following.agent_nodes
        _add_layer(builder, layer_spec, readers, readers, spec, schema=schema)
    for layer_spec in spec.layers[-1:]:
        _add_layer(
            builder, layer_spec, spec.answer_agents, spec.answer_readers, spec, schema=schema
        )
    first = spec.layers[0].agent_nodes if spec.layers else spec.answer_agents
    if spec.router:
        _add_router(builder, spec.router, [each.node for each in first], spec)
        return
    for agent_node in first:
        builder.add_edge(START, agent_node.node)


def _add_router(
    builder: MoAStateGraph, router: Router, first_nodes: Sequence[str], spec: GraphSpec
) -> None:
    routes = ", ".join(f"{name}: {each.agent.label}" for name, each in spec.routes.items())
    decider = name_decider(router)
    builder.add_node(
        ROUTER,
        router_node(router, shadow=spec.depth_policy.shadow),
        input_schema=LayerState,
        destinations=(*first_nodes, AGGREGATOR),
        metadata={"routes": routes} | ({DECIDER: decider} if decider else {}),
    )
    builder.add_edge(START, ROUTER)
    builder.add_conditional_edges(ROUTER, router_edges(first_nodes))


def _add_layer(
    builder: MoAStateGraph,
    layer_spec: LayerSpec,
    next_agents: Sequence[AgentNode],
    readers: Sequence[AgentNode],
    spec: GraphSpec,
    *,
    schema: type[LayerState],
) -> None:
    """Add the proposers of a layer and its layer aggregator.

    Args:
        builder: The graph.
        layer_spec: The layer.
        next_agents: Agents that run after it.
        readers: All agents that read its proposals.
        spec: The graph specification.
        schema: State schema of the proposers.
    """
    is_vote = spec.vote is not None and layer_spec is spec.vote.layer_spec
    layer_aggregator = VOTES if is_vote else layer_aggregator_name(layer_spec.number)
    attempt_class = VoterAttempt if is_vote else None
    for agent_node in layer_spec.agent_nodes:
        node = proposer_node(agent_node, layer_spec, spec.layout, spec.cache_policy, attempt_class)
        add_agent(builder, agent_node, node, schema, **({"box": VOTES} if is_vote else {}))
        builder.add_edge(agent_node.node, layer_aggregator)
    # Only `destinations` are drawn: without a `path_map`, the edges of a retry are not.
    destinations = tuple(each.node for each in next_agents) or (END,)
    is_last = is_vote or layer_spec is spec.layers[-1]
    depth_policy = ALL_LAYERS if is_last else spec.depth_policy
    metadata: dict[str, Any] = {"box": VOTES} if is_vote else {}
    if depth_policy.decider:
        metadata[DECIDER] = depth_policy.decider
    input_schema: dict[str, Any] = {}
    if depth_policy.is_active:
        destinations, input_schema = (*destinations, spec.answer_node), {"input_schema": schema}
    builder.add_node(
        layer_aggregator,
        layer_aggregator_node(layer_spec, spec.layout, readers, depth_policy, spec.aggregators),
        metadata=metadata or None,
        destinations=destinations,
        **input_schema,
    )
    builder.add_conditional_edges(
        layer_aggregator,
        layer_router(layer_aggregator, layer_spec, next_agents, depth_policy, spec.answer_node),
    )


def _add_windows(builder: MoAStateGraph, spec: GraphSpec) -> None:
    """Add a node for each window in sequence, and then the aggregator."""
    following = [*spec.helper_nodes[1:], AGGREGATOR]
    for window, next_node in zip(spec.windows, following, strict=False):
        node = window_node(window, spec.layers, spec.layout, spec.cache_policy)
        add_agent(builder, window.writers[0], node, box=AGGREGATOR)
        builder.add_edge(window.node, next_node)


def _add_vote(builder: MoAStateGraph, spec: GraphSpec) -> None:
    """Add the voters and the node that collects their ballots."""
    if spec.vote:
        analysts = spec.analyst.agent_nodes if spec.analyst else ()
        readers = () if spec.vote.decides else (*analysts, *spec.aggregators)
        voters = spec.vote.layer_spec
        _add_layer(builder, voters, spec.last_agents, readers, spec, schema=LayerState)


def _add_analysis(builder: MoAStateGraph, spec: GraphSpec) -> None:
    """Add the node that compares the proposals."""
    for agent_node in spec.analyst.agent_nodes if spec.analyst else ():
        assert spec.analyst  # noqa: S101  # mypy
        node = proposer_node(
            agent_node, spec.analyst, spec.layout, spec.cache_policy, AnalystAttempt
        )
        add_agent(builder, agent_node, node, box=AGGREGATOR)
        builder.add_edge(agent_node.node, AGGREGATOR)


def add_answer_node(
    builder: MoAStateGraph, spec: GraphSpec, cache_policy: CachePolicy[Any] | None
) -> None:
    """Add the node that returns the answer."""
    pick = None
    if spec.vote and spec.vote.decides:
        pick = make_pick(spec.vote, spec.layers, spec.helper_nodes, spec.describe)
    if pick and not spec.may_skip_layers:
        metadata = {"aggregation": "win"}
        builder.add_node(AGGREGATOR, StateNode(pick), input_schema=LayerState, metadata=metadata)
    else:
        node = aggregator_node(
            spec.aggregators,
            spec.layers,
            spec.layout,
            spec.aggregation,
            cache_policy,
            helper_nodes=spec.helper_nodes,
            describe=spec.describe,
            routes=spec.routes,
            pick=pick,
        )
        add_agent(builder, spec.aggregators[0], node, aggregation=spec.aggregation)
    builder.add_edge(AGGREGATOR, END)


def add_agent(
    builder: MoAStateGraph,
    agent_node: AgentNode,
    node: Any,
    schema: type[LayerState] = LayerState,
    **metadata: str,
) -> None:
    """Add the node of an agent to a graph."""
    builder.add_node(
        agent_node.node,
        node,
        input_schema=schema,
        metadata={"model": agent_node.agent.label, **metadata},
    )
