"""Create the calls of a run from what its thread stores."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage

from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR, parse_helper_role, parse_node_name
from moa_graph.graph.state import OriginalCallStats, Proposal
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.runs.agent_call import AgentCall


def to_proposer_call(node: str, proposal: Proposal, prices: Prices | None) -> AgentCall:
    """Create the call of a proposer."""
    return AgentCall(
        node=node,
        layer=proposal["layer"],
        agent=proposal["agent"],
        model=proposal["model"],
        text=proposal["content"],
        error=proposal["error"],
        error_type=proposal.get("error_type"),
        started=proposal.get("started"),
        seconds=proposal["seconds"],
        dropped_reference_chars=proposal.get("dropped_reference_chars", 0),
        dropped_messages=proposal.get("dropped_messages", 0),
        refused_prompt=proposal.get("refused_prompt"),
        finish_reason=proposal.get("finish_reason"),
        partial_text=proposal.get("partial_content", ""),
        may_be_billed=proposal.get("may_be_billed", False),
        hedged=proposal.get("hedged", False),
        joint_samples=proposal.get("joint_samples", 1),
        served_model=proposal.get("served_model"),
        is_edited=proposal.get("edited") == proposal.get("attempt_id", ""),
        **_cost_fields(proposal["model"], proposal["usage"], proposal.get("cached"), prices),
    )


def to_aggregator_call(
    answer: AIMessage, summary: Mapping[str, Any], layer: int, prices: Prices | None
) -> AgentCall:
    """Create the call that wrote the answer."""
    usage = summary.get("aggregator_usage") or answer.usage_metadata
    hedged = summary.get("hedged", ())
    return AgentCall(
        node=AGGREGATOR,
        layer=layer,
        agent=AGGREGATOR,
        model=summary["aggregator"],
        text=answer.text,
        error=None,
        started=summary.get("started"),
        seconds=summary.get("seconds", 0.0),
        dropped_reference_chars=summary["dropped_reference_chars"],
        dropped_messages=summary.get("dropped_messages", 0),
        refused_prompt=summary.get("refused_prompt"),
        finish_reason=read_finish_reason(answer),
        hedged=any(not (parse_node_name(node) or parse_helper_role(node)) for node in hedged),
        may_be_billed=AGGREGATOR in hedged and AGGREGATOR in summary["usage_unknown"],
        served_model=summary.get("served_models", {}).get(AGGREGATOR),
        **_cost_fields(summary["aggregator"], usage, summary.get("aggregator_cached"), prices),
    )


def to_failed_aggregator_call(
    failure: Mapping[str, Any], proposals: Sequence[AgentCall], *, is_counted: bool
) -> AgentCall:
    """Create the call of the aggregator of a run without an answer."""
    return AgentCall(
        node=AGGREGATOR,
        layer=1 + max((call.layer for call in proposals), default=0),
        agent=AGGREGATOR,
        model=failure["model"],
        text="",
        error=failure["error"],
        started=None,
        seconds=0.0,
        dropped_reference_chars=0,
        usage=None,
        cost=None,
        may_be_billed=not is_counted,  # earlier versions did not store its usage
        is_timed=False,
    )


def to_failed_writer_call(failed: FailedCall, layer: int, prices: Prices | None) -> AgentCall:
    """Create a call of the aggregator or a fallback whose answer is not used."""
    return AgentCall(
        node=failed["node"],
        layer=layer,
        agent=failed["node"],
        model=failed["model"],
        text="",
        error=failed["error"],
        error_type=failed.get("error_type"),
        started=failed["started"],
        seconds=failed["seconds"],
        dropped_reference_chars=0,
        finish_reason=failed["finish_reason"],
        partial_text=failed["partial_content"],
        may_be_billed=failed["may_be_billed"],
        **_cost_fields(failed["model"], failed["usage"], None, prices),
    )


def _cost_fields(
    model: str,
    usage: Mapping[str, Any] | None,
    cached: OriginalCallStats | None,
    prices: Prices | None,
) -> dict[str, Any]:
    """Return the tokens and cost of a call, or its savings."""
    if not cached:
        return {"usage": usage, "cost": estimate_cost(model, usage, prices)}
    saved = estimate_cost(model, cached["usage"], prices)
    return {"usage": usage, "cost": 0.0, "cached": cached, "saved_cost": saved}


def to_decision_call(decision: DepthDecision, prices: Prices | None) -> AgentCall:
    """Create the call of a model that decided about the depth."""
    name = parse_node_name(node := decision["node"])
    return AgentCall(
        node=node,
        layer=name.layer if name else 0,
        agent=node,
        model=decision["model"],
        text=decision.get("why", ""),
        error=None,
        started=decision.get("started"),
        seconds=0.0,
        dropped_reference_chars=0,
        is_timed=False,
        **_cost_fields(decision["model"], decision.get("usage"), None, prices),
    )
