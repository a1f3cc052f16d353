"""Outcomes of the agents of a run, parsed from the updates of their nodes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from langchain_core.messages import AIMessage

from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.graph.run_summary import RunSummary, read_run_summary
from moa_graph.graph.state import Proposal
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.prompting.usage import read_count
from moa_graph.runs.agent_call import call_status, read_call_status

AgentStatus = Literal["answered", "cached", "failed", "cut off", "cancelled"]

_MAX_CAUSE_CHARS = 80
_ROUNDING_S = 0.001  # rounding error of start times in seconds


@dataclass(frozen=True)
class AgentOutcome:
    """Outcome of a called agent."""

    node: str
    layer: int | None
    """Number of the layer, from 1; `None` for the aggregator and its fallbacks."""
    agent: str
    """Name of the agent in its layer."""
    model: str
    """Model that was called: `provider:model`, or the name of a runnable."""
    status: AgentStatus
    seconds: float
    usage: Mapping[str, Any] | None = None
    """Tokens in this run as LangChain's `UsageMetadata`."""
    may_be_billed: bool = False
    """Whether it may have cost an unknown number of tokens."""
    cause: str = ""
    """Short cause of a failure, without text of the provider."""
    error_type: str | None = None
    """Class of the failure: the HTTP status, or the name of the exception."""

    def estimate_cost(self, prices: Prices | None) -> float | None:
        """Return the estimated cost in US dollars; `None` if it is unknown."""
        if self.status == "cached" or (self.usage is None and self.cause):
            return 0.0  # providers do not bill refused requests; `may_be_billed` covers the others
        return estimate_cost(self.model, self.usage, prices)


def read_proposer(
    node: str, outputs: Any, previous: Mapping[str, Any] | None = None
) -> AgentOutcome | None:
    """Return the outcome of a proposer; `None` if it wrote nothing.

    Args:
        node: Its node.
        outputs: Output of the node.
        previous: Its earlier proposal; if that failed, the new one includes its tokens.
    """
    proposals = outputs.get("proposals") if isinstance(outputs, Mapping) else None
    proposal: Proposal | None = (proposals or {}).get(node)
    if not proposal:
        return None
    status: AgentStatus = read_call_status(proposal)
    if status == "answered" and proposal["cached"]:
        status = "cached"
    return AgentOutcome(
        node,
        proposal["layer"],
        proposal["agent"],
        proposal["model"],
        status,
        proposal["seconds"],
        _without_earlier(proposal, previous),
        may_be_billed=proposal.get("may_be_billed", False),
        **_failure_fields(proposal["error"], proposal.get("error_type")),
    )


def read_decision(node: str, outputs: Any, model: str, seconds: float) -> AgentOutcome | None:
    """Return the outcome of a decision model; `None` if no model was called.

    Args:
        node: The router, or a layer aggregator.
        outputs: Output of the node.
        model: The decision model.
        seconds: Wall time of the node.
    """
    decisions = outputs.get("depth") if isinstance(outputs, Mapping) else None
    decision: DepthDecision | None = (decisions or {}).get(node)
    if not decision or not ("model" in decision or "error_type" in decision):
        return None
    name, error_type = parse_node_name(node), decision.get("error_type")
    return AgentOutcome(
        node,
        name.layer if name else None,
        node,
        model,
        "failed" if error_type else "answered",
        seconds,
        decision.get("usage"),
        cause=describe_error_type(error_type) if error_type else "",
        error_type=error_type,
    )


def read_summary(outputs: Any) -> RunSummary | None:
    """Return the run summary in the output of an aggregator's node."""
    messages = outputs.get("messages") if isinstance(outputs, Mapping) else None
    last = messages[-1] if messages else None
    return read_run_summary(last) if isinstance(last, AIMessage) else None


def read_writers(summary: RunSummary, since: float) -> Iterator[AgentOutcome]:
    """Return the outcomes of the aggregator and the called fallbacks.

    Args:
        summary: The run summary.
        since: Start of the node, in seconds since 1970: the summary of a resumed run also contains
            earlier failures.
    """
    failed_calls = summary.get("failed_calls", [])
    yield from read_failed_writers(failed_calls, since)
    if summary.get("vote") and "selected" in summary:
        return  # the winner of a vote is the answer: no call
    failed = {each["node"] for each in failed_calls}
    fallbacks = (f"fallback_{number}" for number in range(1, len(failed) + 1))
    node = next(each for each in (AGGREGATOR, *fallbacks) if each not in failed)
    is_cached = bool(summary.get("aggregator_cached"))
    yield AgentOutcome(
        node,
        None,
        node,
        summary["aggregator"],
        "cached" if is_cached else "answered",
        summary["seconds"],
        summary["aggregator_usage"],
    )


def read_failed_writers(calls: Sequence[FailedCall], since: float) -> Iterator[AgentOutcome]:
    """Return the outcomes of failed aggregators, without earlier failures."""
    for call in calls:
        if call["started"] < since - _ROUNDING_S:
            continue
        yield AgentOutcome(
            call["node"],
            None,
            call["node"],
            call["model"],
            read_call_status(call),
            call["seconds"],
            call["usage"],
            may_be_billed=call["may_be_billed"],
            **_failure_fields(call["error"], call.get("error_type")),
        )


def unfinished_outcome(
    node: str, model: str, status: Literal["failed", "cancelled"], seconds: float, error_type: str
) -> AgentOutcome:
    """Return the outcome of an agent whose node has no output."""
    name = parse_node_name(node)
    layer, agent = (name.layer, name.agent) if name else (None, node)
    cause = describe_error_type(error_type) if status == "failed" else status
    return AgentOutcome(
        node, layer, agent, model, status, seconds, cause=cause, error_type=error_type
    )


def describe_error_type(error_type: str) -> str:
    """Describe a class of failures: `429 Too Many Requests`, or the name of an exception."""
    if not error_type.isdecimal():
        return error_type
    try:
        return f"{error_type} {HTTPStatus(int(error_type)).phrase}"
    except ValueError:
        return error_type


def _failure_fields(error: str | None, error_type: str | None) -> dict[str, Any]:
    """Return the fields of a failure, without text of the provider, which may repeat the prompt."""
    if error is None:
        return {}
    if call_status(error, error_type) == "cut off":
        cause = error.partition(";")[0][:_MAX_CAUSE_CHARS]
        return {"cause": cause, "error_type": error_type or "DeadlineExceededError"}
    error_type = error_type or "_OTHER"
    return {"cause": describe_error_type(error_type), "error_type": error_type}


def _without_earlier(
    proposal: Proposal, previous: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """Return the tokens of this attempt, without those of earlier attempts."""
    usage = proposal["usage"]
    if not usage or not previous or not previous.get("usage"):
        return usage
    is_earlier = previous.get("error") and not previous.get("content")
    if not is_earlier or previous.get("turn_id") != proposal["turn_id"]:
        return usage
    return _subtract(usage, previous["usage"])


def _subtract(usage: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    rest = dict[str, Any]()
    for name, count in usage.items():
        before = earlier.get(name)
        if isinstance(count, Mapping):
            rest[name] = _subtract(count, before if isinstance(before, Mapping) else {})
        else:
            rest[name] = max((read_count(count) or 0) - (read_count(before) or 0), 0)
    return rest
