"""`RunRecord`: a run parsed from its state, for drawings, reports and tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage

from moa_graph.graph.agreement import LayerAgreement
from moa_graph.graph.deadlines import DeadlineExceededError
from moa_graph.graph.depth import RunDepth, find_newest_turn_id
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR, FULL, parse_helper_role, parse_node_name
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.graph.state import OriginalCallStats, Proposal, RefusedPrompt
from moa_graph.graph.turns import unanswered_messages
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.models.providers import provider_of
from moa_graph.prompting.attachments import remove_attachments
from moa_graph.prompting.finish_reasons import describe_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.stored_names import translate_proposal

_EARLIER_CUT_OFFS = ("cut off", "no answer within its timeout")
"""Beginnings of the errors of `graph/deadlines.py` in threads of versions without `error_type`."""

AGGREGATOR_FAILURE = "aggregator_failure"
"""State key of the aggregator's failure, in a state that was read from a store."""

CallStatus = Literal["answered", "failed", "cut off"]


def call_status(error: str | None, error_type: str | None = None) -> CallStatus:
    """Return how a call ended.

    Args:
        error: Cause of the failure; `None` if there is an answer.
        error_type: Class of the failure; `None` if an earlier version stored the call.
    """
    if error is None:
        return "answered"
    if error_type is None:
        return "cut off" if error.startswith(_EARLIER_CUT_OFFS) else "failed"
    return "cut off" if error_type == DeadlineExceededError.__name__ else "failed"


def read_call_status(call: Proposal | FailedCall) -> CallStatus:
    """Return how a stored call ended."""
    return call_status(call["error"], call.get("error_type"))


@dataclass(frozen=True)
class AgentCall:
    """One call of an agent."""

    node: str
    layer: int
    """Number of the layer, from 1; for the aggregator, one more than that of the last layer."""
    agent: str
    model: str
    text: str
    error: str | None
    started: float | None
    """Start in seconds since 1970; `None` for runs of versions that did not store it."""
    seconds: float
    dropped_reference_chars: int
    """Characters of references that were left out of the prompt."""
    usage: Mapping[str, Any] | None
    cost: float | None
    """Estimated cost in US dollars; `None` if unknown."""
    cached: OriginalCallStats | None = None
    """Original tokens and seconds of a cached answer, which costs nothing now."""
    saved_cost: float | None = None
    """Estimated original cost in US dollars; `None` if unknown."""
    dropped_messages: int = 0
    """Messages of earlier turns that were left out of the prompt."""
    refused_prompt: RefusedPrompt | None = None
    """The prompt that the model refused before as too long."""
    finish_reason: str | None = None
    """Finish reason as the provider reports it."""
    partial_text: str = ""
    """Partial text of a failed answer."""
    may_be_billed: bool = False
    """Whether it failed or was hedged, and may have cost an unknown number of tokens."""
    hedged: bool = False
    """Whether the request was sent a second time because of `hedge`."""
    joint_samples: int = 1
    """Number of samples in its request; its tokens are a share of the request's tokens."""
    selected: bool = False
    """Whether the aggregator selected it as the answer."""
    is_timed: bool = True
    """Whether its duration is known."""
    served_model: str | None = None
    """Model that answered, as the provider reports it."""
    is_edited: bool = False
    """Whether a person has replaced its text."""
    error_type: str | None = None
    """Class of the failure: the HTTP status, or the name of the exception."""

    @property
    def status(self) -> CallStatus:
        """How the call ended."""
        return call_status(self.error, self.error_type)

    @property
    def is_proposal(self) -> bool:
        """Whether it is the call of a proposer."""
        return self.node != AGGREGATOR and self.helper_role is None

    @property
    def helper_role(self) -> str | None:
        """Role of a helper node; `None` for a proposer and for the aggregator."""
        return parse_helper_role(self.node)

    @property
    def ending_note(self) -> str | None:
        """Note about an incomplete answer, such as that it is truncated."""
        return None if self.error else describe_ending(self.finish_reason)

    @property
    def is_billed(self) -> bool:
        """Whether the call is billed or may be."""
        return self.error is None or self.usage is not None or self.may_be_billed

    @property
    def is_cost_known(self) -> bool:
        """Whether `cost` is the complete cost."""
        return self.cost is not None and not self.may_be_billed

    @property
    def cached_prompt_tokens(self) -> int:
        """Prompt tokens from providers' caches, as far as they are reported."""
        return ((self.usage or {}).get("input_token_details") or {}).get("cache_read") or 0

    @property
    def ended(self) -> float:
        """End in seconds since 1970."""
        return (self.started or 0.0) + self.seconds


@dataclass(frozen=True)
class RunRecord:
    """One turn of a mixture: a question, the calls it led to, and the answer."""

    question: str
    answer: AIMessage | None
    """The answer; `None` if the run has not completed."""
    calls: Sequence[AgentCall]
    """Calls in order: layer by layer, the aggregator last."""
    layer_sizes: Mapping[int, int] = field(default_factory=dict)
    """Number of proposers of each layer, as far as it is known; some may not have run."""
    depth: RunDepth | None = None
    """Depth of the turn; `None` if there was no decision."""
    agreement: LayerAgreement | None = None
    """Agreement of the proposals that the aggregator read; `None` if unknown."""
    decisions: Sequence[AgentCall] = ()
    """Calls of decision models."""
    failed_writers: Sequence[AgentCall] = ()
    """Known failed calls of the aggregator and fallbacks."""
    vote: Mapping[str, Any] | None = None
    """Result of the vote, if there was one."""

    @property
    def is_routed_past_layers(self) -> bool:
        """Whether a router sent the question to a model of its own."""
        return self.depth is not None and self.depth.get("route", FULL) != FULL

    @property
    def is_voted(self) -> bool:
        """Whether the answer is the winner of a vote."""
        return self.vote is not None and self.selected is not None

    @property
    def proposals(self) -> Sequence[AgentCall]:
        """Calls of proposers."""
        return [call for call in self.calls if call.is_proposal]

    @property
    def has_language_model(self) -> bool:
        """Whether a language model was called: `offline:` agents only quote."""
        return any(provider_of(call.model).is_language_model for call in self.calls)

    @property
    def dropped_messages(self) -> int:
        """Largest number of earlier messages that were left out of a prompt."""
        return max((call.dropped_messages for call in self.calls), default=0)

    @property
    def dropped_nodes(self) -> Sequence[str]:
        """Nodes of the proposers whose proposals a person dropped."""
        summary = read_run_summary(self.answer)
        return summary.get("dropped", ()) if summary else ()

    @property
    def selected(self) -> AgentCall | None:
        """The proposal that the aggregator selected, if it wrote nothing itself."""
        return next((call for call in self.calls if call.selected), None)

    @cached_property
    def layers(self) -> Sequence[Sequence[AgentCall]]:
        """The calls of each layer; the last entry is that of the aggregator."""
        numbers = sorted({call.layer for call in self.calls})
        return [[call for call in self.calls if call.layer == number] for number in numbers]

    @cached_property
    def critical_path(self) -> frozenset[str]:
        """Nodes on the critical path: the last one to end in each completed layer."""
        layers = [layer for layer in self.layers if self._is_layer_finished(layer)]
        return frozenset(max(layer, key=lambda call: call.ended).node for layer in layers)

    def _is_layer_finished(self, layer: Sequence[AgentCall]) -> bool:
        number = layer[0].layer
        return number < self.layers[-1][0].layer or len(layer) >= self.layer_sizes.get(number, 0)

    @property
    def planned_proposals(self) -> int:
        """Number of proposals if all proposers had run."""
        return max(sum(self.layer_sizes.values()), len(self.proposals))

    @property
    def seconds(self) -> float:
        """Seconds of the calls on the critical path."""
        return sum(call.seconds for call in self.calls if call.node in self.critical_path)

    @property
    def billed_calls(self) -> Sequence[AgentCall]:
        """Calls that are billed or may be, including those whose answer is not used."""
        calls = (*self.calls, *self.failed_writers, *self.decisions)
        return [call for call in calls if call.is_billed]

    @property
    def tokens(self) -> int:
        """Known tokens."""
        return sum(call.usage["total_tokens"] for call in self.billed_calls if call.usage)

    @property
    def cached_prompt_tokens(self) -> int:
        """Tokens that were read from providers' caches, as far as they said."""
        return sum(call.cached_prompt_tokens for call in self.billed_calls)

    @property
    def cached_calls(self) -> Sequence[AgentCall]:
        """Calls whose answers come from the node cache."""
        return [call for call in self.calls if call.cached]

    @property
    def cost(self) -> float | None:
        """Known cost in US dollars; `None` if no cost is known."""
        costs = [call.cost for call in self.billed_calls if call.cost is not None]
        return sum(costs) if costs else None

    @property
    def cost_is_complete(self) -> bool:
        """Whether the cost includes every call that may be billed."""
        return all(call.is_cost_known for call in self.billed_calls)

    @property
    def usage_is_complete(self) -> bool:
        """Whether the tokens include every call that may be billed."""
        return all(call.usage and not call.may_be_billed for call in self.billed_calls)


def read_run(
    state: Mapping[str, Any],
    *,
    prices: Prices | None = None,
    order: Iterable[str] = (),
    failed_calls: Iterable[FailedCall] = (),
) -> RunRecord:
    """Parse the present turn of a state.

    Args:
        state: Result of `invoke`, or `values` of a `StateSnapshot`.
        prices: As in `estimate_cost`.
        order: Nodes in the desired order; by default the configured order, as far as the state
            contains it.
        failed_calls: Failed calls of an `AggregatorError`; by default the stored ones, in a state
            that was read from a store of runs.

    Raises:
        ValueError: If it is not the state of a mixture.
    """
    check_state(state)
    last = state["messages"][-1]
    answer = last if isinstance(last, AIMessage) else None
    summary: Mapping[str, Any] = read_run_summary(answer) or {}
    nodes = list(order or summary.get("proposers", ()))
    calls = [
        replace(_proposer_call(node, proposal, prices), selected=node == summary.get("selected"))
        for node, proposal in _order_proposals(current_turn_proposals(state), nodes)
    ]
    if answer and summary:
        layer = 1 + max([summary["layers"], *(call.layer for call in calls)])
        calls.append(_aggregator_call(answer, summary, layer, prices))
    elif failure := state.get(AGGREGATOR_FAILURE):
        failed_calls = tuple(failed_calls) or failure.get("failed_calls", ())
        calls.append(_failed_aggregator_call(failure, calls, is_counted=bool(failed_calls)))
    failed_calls = (*summary.get("failed_calls", ()), *failed_calls)
    writers = _read_failed_writers(failed_calls, calls, prices)
    depth: RunDepth | None = summary.get("depth")
    sizes = _count_layer_sizes(nodes, depth["layers"] if depth else None)
    return RunRecord(
        last_question(state["messages"]),
        answer,
        calls,
        sizes,
        failed_writers=writers,
        vote=summary.get("vote"),
        depth=depth,
        agreement=summary.get("agreement"),
        decisions=[_decision_call(each, prices) for each in _list_decisions(state, summary)],
    )


def check_state(state: Any) -> None:
    """Refuse what cannot be the state of a mixture.

    Raises:
        ValueError: If it has no messages.
    """
    if not isinstance(state, Mapping) or not state.get("messages"):
        raise ValueError(f"`state`: expected the state of a mixture, with messages, got {state!r}")


def _list_decisions(
    state: Mapping[str, Any], summary: Mapping[str, Any]
) -> Sequence[DepthDecision]:
    """Return the decisions of models in a turn, also in one without an answer."""
    if summary:
        return cast("Sequence[DepthDecision]", summary.get("decisions", ()))
    turn_id = find_newest_turn_id(state["messages"])
    decisions: Mapping[str, DepthDecision] = state.get("depth") or {}
    return [
        each for each in decisions.values() if "model" in each and each.get("turn_id") == turn_id
    ]


def _read_failed_writers(
    failed_calls: Iterable[FailedCall], calls: Sequence[AgentCall], prices: Prices | None
) -> list[AgentCall]:
    """Parse the failed calls of aggregators, as calls of the layer after the proposers."""
    layer = 1 + max((call.layer for call in calls if call.node != AGGREGATOR), default=0)
    return [_failed_writer_call(each, layer, prices) for each in failed_calls]


def _order_proposals(
    proposals: Mapping[str, Proposal], nodes: Sequence[str]
) -> list[tuple[str, Proposal]]:
    """Sort proposals by layer, and within a layer by the order of nodes; others come last."""
    positions = {node: position for position, node in enumerate(nodes)}
    return sorted(
        proposals.items(),
        key=lambda item: (item[1]["layer"], positions.get(item[0], len(positions))),
    )


def first_question(messages: Sequence[AnyMessage]) -> str:
    """Return the first question of a conversation, without attachments."""
    questions = (message.text for message in messages if message.type == "human")
    return remove_attachments(next(questions, ""))


def last_question(messages: Sequence[AnyMessage]) -> str:
    """Return the last question of a conversation, without attachments."""
    questions = [message.text for message in messages if message.type == "human"]
    return remove_attachments(questions[-1]) if questions else ""


def current_turn_proposals(state: Mapping[str, Any]) -> dict[str, Proposal]:
    """Return the proposals of the present turn; a question that has not started has none."""
    proposals = {
        node: cast("Proposal", translate_proposal(p))
        for node, p in (state.get("proposals") or {}).items()
    }
    if not (
        open_ids := {message.id for message in unanswered_messages(state.get("messages") or ())}
    ):
        return proposals if state.get("messages") else {}
    return {node: p for node, p in proposals.items() if p["turn_id"] in open_ids}


def _proposer_call(node: str, proposal: Proposal, prices: Prices | None) -> AgentCall:
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


def _aggregator_call(
    answer: AIMessage, summary: Mapping[str, Any], layer: int, prices: Prices | None
) -> AgentCall:
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


def _failed_aggregator_call(
    failure: Mapping[str, Any], proposals: Sequence[AgentCall], *, is_counted: bool
) -> AgentCall:
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


def _failed_writer_call(failed: FailedCall, layer: int, prices: Prices | None) -> AgentCall:
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


def _decision_call(decision: DepthDecision, prices: Prices | None) -> AgentCall:
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


def _count_layer_sizes(nodes: Iterable[str], last_layer: int | None) -> Counter[int]:
    """Count the proposers of each layer that ran."""
    names = filter(None, map(parse_node_name, nodes))
    layers = (name.layer for name in names if not name.is_layer_aggregator)
    return Counter(layer for layer in layers if last_layer is None or layer <= last_layer)
