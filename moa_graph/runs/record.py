"""`RunRecord`: a run parsed from its state, for drawings, reports and tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage

from moa_graph.graph.agreement import LayerAgreement
from moa_graph.graph.depth import RunDepth, find_newest_turn_id
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR, FULL, parse_node_name
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.graph.state import Proposal
from moa_graph.graph.turns import unanswered_messages
from moa_graph.models.pricing import Prices
from moa_graph.models.providers import provider_of
from moa_graph.prompting.attachments import remove_attachments
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.stored_calls import (
    to_aggregator_call,
    to_decision_call,
    to_failed_aggregator_call,
    to_failed_writer_call,
    to_proposer_call,
)
from moa_graph.stored_names import translate_proposal

AGGREGATOR_FAILURE = "aggregator_failure"
"""State key of the aggregator's failure, in a state that was read from a store."""


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
    def skipped_cost(self) -> float | None:
        """Minimum estimated cost of the skipped proposers; `None` if unknown.

        It is based on the mean cost of the others, which have read fewer references.
        """
        costs = [call.cost for call in self.proposals if call.cost is not None]
        return sum(costs) / len(costs) * self.depth["skipped"] if self.depth and costs else None

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
        replace(to_proposer_call(node, proposal, prices), selected=node == summary.get("selected"))
        for node, proposal in _order_proposals(current_turn_proposals(state), nodes)
    ]
    if answer and summary:
        layer = 1 + max([summary["layers"], *(call.layer for call in calls)])
        calls.append(to_aggregator_call(answer, summary, layer, prices))
    elif failure := state.get(AGGREGATOR_FAILURE):
        failed_calls = tuple(failed_calls) or failure.get("failed_calls", ())
        calls.append(to_failed_aggregator_call(failure, calls, is_counted=bool(failed_calls)))
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
        decisions=[to_decision_call(each, prices) for each in _list_decisions(state, summary)],
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
    return [to_failed_writer_call(each, layer, prices) for each in failed_calls]


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


def _count_layer_sizes(nodes: Iterable[str], last_layer: int | None) -> Counter[int]:
    """Count the proposers of each layer that ran."""
    names = filter(None, map(parse_node_name, nodes))
    layers = (name.layer for name in names if not name.is_layer_aggregator)
    return Counter(layer for layer in layers if last_layer is None or layer <= last_layer)
