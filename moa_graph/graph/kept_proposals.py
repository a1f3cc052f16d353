"""A graph whose proposals are there already: the aggregator alone is asked."""

from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START

from moa_graph.graph.aggregator import aggregator_node, brief_readers
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.builder import (
    CompiledMoAGraph,
    GraphSpec,
    MoAStateGraph,
    add_agent,
)
from moa_graph.graph.compiled import FairGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.proposer import NodeRunnable
from moa_graph.graph.state import LayerState, MoAState, OriginalCallStats, Proposal
from moa_graph.prompting.parsing import ZERO_USAGE
from moa_graph.sync_async import Flow

KEPT_PROPOSALS = "kept_proposals"


def compile_kept_proposals_graph(spec: GraphSpec, name: str) -> CompiledMoAGraph:
    """Compile a graph that takes `messages` and `proposals`, and has the answer written.

    Args:
        spec: The mixture.
        name: Name of the graph.
    """
    builder = MoAStateGraph(MoAState)
    builder.add_node(KEPT_PROPOSALS, _kept_proposals_node(spec), input_schema=LayerState)
    aggregator = aggregator_node(spec.aggregators, spec.layers, spec.layout, spec.aggregation)
    add_agent(builder, spec.aggregators[0], aggregator, aggregation=spec.aggregation)
    builder.add_edge(START, KEPT_PROPOSALS)
    builder.add_edge(KEPT_PROPOSALS, AGGREGATOR)
    builder.add_edge(AGGREGATOR, END)
    return FairGraph.of(builder.compile(checkpointer=False, name=name))


def to_reused(proposal: Proposal) -> Proposal:
    """Copy a proposal for a run that did not ask for it: it costs that run nothing."""
    reused = {k: v for k, v in proposal.items() if k not in {"may_be_billed", "hedged"}}
    if not proposal["error"]:
        stats = OriginalCallStats(usage=proposal["usage"], seconds=proposal["seconds"])
        reused["cached"] = proposal["cached"] or stats
    return cast("Proposal", reused | {"usage": {**ZERO_USAGE}})


def _kept_proposals_node(spec: GraphSpec) -> NodeRunnable:
    nodes = [each.node for each in spec.layers[-1].agent_nodes]

    def brief(
        state: LayerState, _config: RunnableConfig, _cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        return brief_readers(nodes, state, spec.layout, spec.aggregators)

    return NodeRunnable(brief)
