"""The node that writes the final answer: the aggregator, its fallbacks, or a routed model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import CachePolicy

from moa_graph.graph.answer_attempt import AnswerAttempt
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.depth import count_effective_layers, find_route
from moa_graph.graph.node_runnable import NodeRunnable
from moa_graph.graph.options import Aggregation
from moa_graph.graph.reference_selection import ALL_REFERENCES
from moa_graph.graph.selection_attempt import SelectionAttempt
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import LayerState
from moa_graph.graph.summary_builder import RunSummaryBuilder
from moa_graph.graph.write_flow import WriteFlow, make_write_flow
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow


def aggregator_node(
    aggregators: Sequence[AgentNode],
    layer_specs: Sequence[LayerSpec],
    layout: PromptLayout,
    aggregation: Aggregation = "synthesize",
    cache_policy: CachePolicy[Any] | None = None,
    *,
    helper_nodes: Sequence[str] = (),
    routes: Mapping[str, AgentNode] = MappingProxyType({}),
    describe: Callable[[LayerState], Mapping[str, Any]] = lambda _: {},
    pick: Callable[[LayerState], dict[str, Any]] | None = None,
) -> NodeRunnable:
    """Create the node that returns the answer of the first writer that succeeds.

    Args:
        aggregators: The aggregator and its fallbacks.
        layer_specs: The layers of proposers.
        layout: Layout of the prompt of a writer.
        aggregation: Whether they write the answer, or pick one of the last layer's proposals.
        cache_policy: Policy of the node cache; `None` for no cache.
        helper_nodes: Nodes between the last layer and this one, whose calls count.
        routes: Agents that answer instead of the layers, by route.
        describe: Returns further entries of the run summary.
        pick: Returns the answer if all layers ran and no model writes it.
    """
    selects = aggregation == "select"
    layout = layout.for_selection() if selects else layout
    attempt_class = SelectionAttempt if selects else AnswerAttempt

    def write_behind(layers: int) -> WriteFlow:
        is_whole = layers == len(layer_specs)
        helpers = helper_nodes if is_whole else ()
        readers = (
            aggregators if is_whole else _with_all_proposals(aggregators, layer_specs[layers - 1])
        )
        build_summary = partial(
            RunSummaryBuilder,
            layer_specs[:layers],
            helper_nodes=helpers,
            describe=describe,
            planned_layers=layer_specs,
        )
        return make_write_flow(
            readers, lambda state: attempt_class(build_summary(state)), layout, cache_policy
        )

    def write_on(route: AgentNode) -> WriteFlow:
        alone = [
            replace(each, layer=1, reference_nodes=(), selector=ALL_REFERENCES)
            for each in aggregators
        ]
        build_summary = partial(RunSummaryBuilder, (), planned_layers=layer_specs)
        return make_write_flow(
            [route, *alone],
            lambda state: AnswerAttempt(build_summary(state)),
            layout,
            cache_policy,
        )

    # Created eagerly: a function cache could not be pickled when a graph is sent to workers.
    flows_behind = [write_behind(layers) for layers in range(len(layer_specs) + 1)]
    flows_on_routes = {name: write_on(route) for name, route in routes.items()}

    def aggregate(
        state: LayerState, config: RunnableConfig, node_cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        layer_count = count_effective_layers(state, layer_specs)
        if pick and layer_count == len(layer_specs):
            return _pick_proposal(pick, state)
        if layer_count or not routes:
            return flows_behind[layer_count](state, config, node_cache)
        return flows_on_routes[_require_route(state, routes)](state, config, node_cache)

    return NodeRunnable(aggregate, aggregators[0])


def _pick_proposal(
    pick: Callable[[LayerState], dict[str, Any]], state: LayerState
) -> Flow[dict[str, Any]]:
    yield from ()
    return pick(state)


def _with_all_proposals(aggregators: Sequence[AgentNode], layer_spec: LayerSpec) -> list[AgentNode]:
    """Make aggregators read all proposals of a layer."""
    nodes = [each.node for each in layer_spec.agent_nodes]
    return [
        replace(each, reference_nodes=nodes, selector=each.selector.of_whole_layer)
        for each in aggregators
    ]


def _require_route(state: LayerState, routes: Mapping[str, AgentNode]) -> str:
    """Return the name of the chosen route.

    Raises:
        LookupError: If the mixture has no such route, because a person or another mixture wrote it.
    """
    decision = find_route(state)
    name = decision.get("route", "") if decision else ""
    if name not in routes and len(routes) == 1:
        return next(iter(routes))
    if name not in routes:
        raise LookupError(f"router: no route {name!r}; expected one of: {', '.join(routes)}")
    return name
