"""The layer aggregator, which templates the proposals, and its conditional edges."""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END

from moa_graph.graph import quorum
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.depth import find_decision, find_layer_turn_id, is_effective
from moa_graph.graph.depth_policy import ALL_LAYERS, DepthPolicy, depth_update
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.node_runnable import NodeRunnable, StateNode
from moa_graph.graph.prompt_limits import current_limits
from moa_graph.graph.references import references_update
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import LayerState, MoAState, retry_mark_update
from moa_graph.models.served_context import ask_servers
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow


def layer_aggregator_node(
    layer_spec: LayerSpec,
    layout: PromptLayout,
    readers: Sequence[AgentNode],
    depth_policy: DepthPolicy = ALL_LAYERS,
    aggregators: Sequence[AgentNode] = (),
) -> NodeRunnable:
    """Create the node that templates the proposals of a layer for the agents that read them next.

    It also stores the prompt limits of these agents, so that a resumed run uses the same ones.

    If the layer lacks its quorum, the node marks the failed proposals for a retry.

    Args:
        layer_spec: The layer.
        layout: Layout of the references.
        readers: Agents that read the proposals next.
        depth_policy: Decides whether the aggregator runs next; by default it does not.
        aggregators: Agents that read the proposals in that case.
    """

    def gather(
        state: LayerState, config: RunnableConfig, _cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        proposals = layer_spec.proposals_in(state)
        if retry_nodes := quorum.nodes_to_retry(layer_spec.number, proposals, layer_spec.policy):
            marks = {node: retry_mark_update(proposals[node]) for node in retry_nodes}
            return {"proposals": marks, "is_retry": True}
        if not (depth_policy.is_active and quorum.has_quorum(proposals, layer_spec.policy)):
            return (yield from brief_readers(list(proposals), state, layout, readers))
        decision = yield from depth_policy.decide_after(layer_spec, state, config)
        next_readers = aggregators if is_effective(decision) else readers
        update = yield from brief_readers(list(proposals), state, layout, next_readers)
        return update | depth_update(state, layer_spec, decision)

    return NodeRunnable(gather)


def brief_readers(
    nodes: Sequence[str],
    state: LayerState | MoAState,
    layout: PromptLayout,
    readers: Sequence[AgentNode],
) -> Flow[dict[str, Any]]:
    """Template the proposals of these nodes, and return the prompt limits of the readers."""
    if asking := ask_servers([each.agent for each in readers]):
        yield asking
    limits = {each.node: current_limits(each) for each in readers}
    known = {node: each for node, each in limits.items() if each["context_tokens"]}
    update: dict[str, Any] = references_update(nodes, state, layout)
    return update | ({"model_limits": known} if known or state.get("model_limits") else {})


def layer_router(
    layer_aggregator: str,
    layer_spec: LayerSpec,
    readers: Sequence[AgentNode],
    depth_policy: DepthPolicy = ALL_LAYERS,
    answer_node: str = AGGREGATOR,
) -> NodeRunnable:
    """Create the conditional edges after a layer aggregator.

    They read the marks that the layer aggregator, or a person through `update_state`, left in the
    state. If an update as the layer aggregator leaves the layer without its quorum or without a
    depth decision, the edges decide.
    """
    next_nodes = [agent_node.node for agent_node in readers] or [END]
    without_quorum = END if layer_spec.policy.ends_without_quorum else layer_aggregator

    def route(state: Any) -> Sequence[str]:  # uses the schema of the graph
        proposals = layer_spec.proposals_in(state)
        if marked := quorum.nodes_marked_for_retry(proposals):
            return marked
        if not quorum.has_quorum(proposals, layer_spec.policy):
            return [without_quorum]
        if not depth_policy.is_active:
            return next_nodes
        turn_id = find_layer_turn_id(state, layer_spec)
        decision = find_decision(state, layer_aggregator, turn_id)
        if decision is None:
            return [layer_aggregator]
        return [answer_node] if is_effective(decision) else next_nodes

    return StateNode(route)
