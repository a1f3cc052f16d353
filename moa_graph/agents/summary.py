"""Build the `RunSummary` of the layers for `response_metadata["moa"]` of an agent's answers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage

from moa_graph.agents.depth import TurnDepth
from moa_graph.graph.aggregator_graph import to_reused
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.reference_selection import DrawnReferences
from moa_graph.graph.run_quality import describe_quality
from moa_graph.graph.run_summary import RunSummary
from moa_graph.graph.state import Proposal
from moa_graph.prompting.usage import clean_usage, sum_usages


def summarize_call(
    depth: TurnDepth,
    proposals: Mapping[str, Proposal],
    answer: AIMessage,
    *,
    draw: DrawnReferences | None,
    is_reused: bool,
    aggregator: str,
    started: float,
    seconds: float,
    dropped_reference_chars: int,
) -> RunSummary:
    """Build the `RunSummary` of one answer.

    Args:
        depth: The layers that ran, and the decisions that ended them.
        proposals: The proposals, keyed by node.
        answer: The answer of the agent's model.
        draw: The drawn references; `None` if the model read all in configured order.
        is_reused: Whether the proposals are those of an earlier call and cost nothing here.
        aggregator: Name of the agent's model.
        started: Start of the model call, in seconds since 1970.
        seconds: Wall time of the model call.
        dropped_reference_chars: Characters of references that were left out of the request.
    """
    nodes = [each.node for layer_spec in depth.layer_specs for each in layer_spec.agent_nodes]
    layer_proposals = {node: proposals[node] for node in nodes if node in proposals}
    if is_reused:
        layer_proposals = {node: to_reused(proposal) for node, proposal in layer_proposals.items()}
        depth = replace(depth, decisions=())
    errors = {node: error for node, p in layer_proposals.items() if (error := p["error"])}
    usage = clean_usage(answer.usage_metadata)
    quality = describe_quality(depth.layer_specs, layer_proposals, answer)
    summary: RunSummary = {
        "layers": len(depth.layer_specs),
        "proposers": nodes,
        "asked": len(nodes),
        "answered": len(layer_proposals) - len(errors),
        "failed": list(errors),
        "errors": errors,
        "aggregator": aggregator,
        "aggregator_usage": usage,
        "started": started,
        "seconds": seconds,
        "dropped_reference_chars": dropped_reference_chars,
        "usage": sum_usages(
            filter(None, [*(p["usage"] for p in layer_proposals.values()), *depth.usages, usage])
        ),
        "usage_unknown": [*depth.unknown_nodes, *_find_unknown(layer_proposals, usage)],
        "reused_proposals": is_reused,
        "degraded": quality["degraded"],
        "served_models": quality["served_models"],
    }
    if not is_reused and (agreement := quality.get("agreement")):  # messages are stored often
        summary["agreement"] = agreement
    if depth.run_depth:
        summary["depth"] = depth.run_depth
    if depth.decisions:
        summary["decisions"] = list(depth.decisions)
    if draw:
        summary |= draw.to_record()  # type: ignore[typeddict-item]
    if hedged := [node for node, p in layer_proposals.items() if p.get("hedged")]:
        summary["hedged"] = hedged
    if cached := {node: stats for node, p in layer_proposals.items() if (stats := p.get("cached"))}:
        summary["cached"] = list(cached)
        saved = [stats["usage"] for stats in cached.values()]
        summary["saved_usage"] = sum_usages(filter(None, saved))
    return summary


def _find_unknown(proposals: Mapping[str, Proposal], usage: dict[str, Any] | None) -> list[str]:
    """Return the nodes with unknown usage, among those that answered or may be billed."""
    unknown = [
        node
        for node, p in proposals.items()
        if p.get("may_be_billed") or not (p["error"] or p["usage"])
    ]
    return unknown if usage else [*unknown, AGGREGATOR]
