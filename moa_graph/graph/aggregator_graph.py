"""Graphs with given proposals, which call only the aggregator."""

from collections.abc import Sequence
from typing import Any, NotRequired, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START

from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.compiled import FairGraph
from moa_graph.graph.depth import count_effective_layers
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.graph_nodes import MoAStateGraph, add_answer_node, add_helpers
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.layer_aggregator import brief_readers
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.node_runnable import NodeRunnable, StateNode
from moa_graph.graph.state import LayerState, MoAState, OriginalCallStats, Proposal
from moa_graph.prompting.parsing import ZERO_USAGE
from moa_graph.sync_async import Flow

KEPT_PROPOSALS = "kept_proposals"


class AggregatorInput(MoAState):
    """Input of the graph."""

    depth: NotRequired[dict[str, DepthDecision]]
    """Depth decisions of the turn."""


def compile_aggregator_graph(spec: GraphSpec, name: str) -> CompiledMoAGraph:
    """Compile a graph that takes `AggregatorInput` and returns the answer.

    Args:
        spec: The graph specification.
        name: Name of the graph.
    """
    builder = MoAStateGraph(MoAState, input_schema=AggregatorInput)
    builder.add_node(KEPT_PROPOSALS, _briefing_node(spec), input_schema=LayerState)
    builder.add_edge(START, KEPT_PROPOSALS)
    builder.add_conditional_edges(KEPT_PROPOSALS, _make_edges(spec))
    add_helpers(builder, spec)
    add_answer_node(builder, spec, None)
    return FairGraph.of(builder.compile(checkpointer=False, name=name))


def _make_edges(spec: GraphSpec) -> NodeRunnable:
    """Create the edges to the nodes that have not run: an earlier, failed call ran the others."""

    def route(state: LayerState) -> Sequence[str]:
        if count_effective_layers(state, spec.layers) < len(spec.layers):
            return [AGGREGATOR]
        return spec.find_next_nodes(state)

    return StateNode(route)


def to_reused(proposal: Proposal) -> Proposal:
    """Copy a proposal of an earlier call without its cost."""
    reused = {k: v for k, v in proposal.items() if k not in {"may_be_billed", "hedged"}}
    if not proposal["error"]:
        stats = OriginalCallStats(usage=proposal["usage"], seconds=proposal["seconds"])
        reused["cached"] = proposal["cached"] or stats
    return cast("Proposal", reused | {"usage": {**ZERO_USAGE}})


def _briefing_node(spec: GraphSpec) -> NodeRunnable:
    def brief(
        state: LayerState, _config: RunnableConfig, _cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        if not (layers := count_effective_layers(state, spec.layers)):
            return {}
        nodes = [each.node for each in spec.layers[layers - 1].agent_nodes]
        return (yield from brief_readers(nodes, state, spec.layout, spec.aggregators))

    return NodeRunnable(brief)
