"""What happened in a run, read from its state: for drawings, reports and tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage

from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.graph.state import OriginalCallStats, Proposal, RefusedPrompt
from moa_graph.graph.turns import unanswered_messages
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.models.providers import provider_of
from moa_graph.prompting.attachments import remove_attachments
from moa_graph.prompting.finish_reasons import describe_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.stored_names import translate_proposal

CUT_OFF_PREFIXES = ("cut off", "no answer within its timeout")
"""How errors of `graph/deadlines.py` begin; others begin with the name of their class."""

AGGREGATOR_FAILURE = "aggregator_failure"
"""The key under which a state that was read from a store says how the aggregator failed."""

CallStatus = Literal["answered", "failed", "cut off"]


def call_status(error: str | None) -> CallStatus:
    """Tell how a call ended."""
    if error is None:
        return "answered"
    return "cut off" if error.startswith(CUT_OFF_PREFIXES) else "failed"


@dataclass(frozen=True)
class AgentCall:
    """What one agent was asked for."""

    node: str
    layer: int
    """From 1; the aggregator's is one more than the last."""
    agent: str
    model: str
    text: str
    error: str | None
    started: float | None
    """Seconds since 1970; `None` if the run was stored by a version that did not note it."""
    seconds: float
    dropped_reference_chars: int
    """Characters of the references that it was not shown."""
    usage: Mapping[str, Any] | None
    cost: float | None
    """US dollars, estimated; `None` if not known."""
    cached: OriginalCallStats | None = None
    """What it took before, if the answer is from the cache; now it took and cost nothing."""
    saved_cost: float | None = None
    """US dollars that it cost then, estimated; `None` if not known."""
    dropped_messages: int = 0
    """Messages of earlier turns that it was not shown."""
    refused_prompt: RefusedPrompt | None = None
    """The prompt that its model refused before, because it was too long."""
    finish_reason: str | None = None
    """Why its model stopped, in its provider's word."""
    partial_text: str = ""
    """What there was of an answer that failed."""
    may_be_billed: bool = False
    """Whether it failed, or was hedged, and may have cost tokens of which nobody said how many."""
    hedged: bool = False
    """Whether a second request was sent beside its own, because nothing had come in time."""
    joint_samples: int = 1
    """How many samples came of its request: its tokens are a share of those."""
    selected: bool = False
    """Whether the aggregator picked it to be the answer."""
    is_timed: bool = True
    """Whether it is known how long it took."""

    @property
    def status(self) -> CallStatus:
        """How it ended."""
        return call_status(self.error)

    @property
    def ending_note(self) -> str | None:
        """What is to be told of an answer that is not whole, such as that it is cut off."""
        return None if self.error else describe_ending(self.finish_reason)

    @property
    def is_billed(self) -> bool:
        """Whether it cost something, or may have."""
        return self.error is None or self.usage is not None or self.may_be_billed

    @property
    def is_cost_known(self) -> bool:
        """Whether its `cost` is all that it may have cost."""
        return self.cost is not None and not self.may_be_billed

    @property
    def cached_prompt_tokens(self) -> int:
        """Tokens that it read from its provider's cache, as far as that said."""
        return ((self.usage or {}).get("input_token_details") or {}).get("cache_read") or 0

    @property
    def ended(self) -> float:
        """Seconds since 1970."""
        return (self.started or 0.0) + self.seconds


@dataclass(frozen=True)
class RunRecord:
    """One turn of a mixture: a question, the calls it led to, and the answer."""

    question: str
    answer: AIMessage | None
    """`None` where the run has not come to its end."""
    calls: Sequence[AgentCall]
    """In order: layer by layer, the aggregator's last."""
    layer_sizes: Mapping[int, int] = field(default_factory=dict)
    """How many proposers each layer has, as far as it is known; some may not have been asked."""
    failed_writers: Sequence[AgentCall] = ()
    """Calls of aggregators that a fallback replaced, or that all failed, as far as it is known."""

    @property
    def proposals(self) -> Sequence[AgentCall]:
        """The calls of proposers."""
        return [call for call in self.calls if call.node != AGGREGATOR]

    @property
    def has_language_model(self) -> bool:
        """Whether any of the models is one: the agents of `offline:` quote."""
        return any(provider_of(call.model).is_language_model for call in self.calls)

    @property
    def dropped_messages(self) -> int:
        """Messages of earlier turns that were not shown, to the agent that was shown least."""
        return max((call.dropped_messages for call in self.calls), default=0)

    @property
    def selected(self) -> AgentCall | None:
        """The proposal that the aggregator picked, if it wrote nothing itself."""
        return next((call for call in self.calls if call.selected), None)

    @cached_property
    def layers(self) -> Sequence[Sequence[AgentCall]]:
        """The calls of each layer, and last the aggregator's alone."""
        numbers = sorted({call.layer for call in self.calls})
        return [[call for call in self.calls if call.layer == number] for number in numbers]

    @cached_property
    def critical_path(self) -> frozenset[str]:
        """The nodes that the run waited for: the last one to end of each layer that is over."""
        layers = [layer for layer in self.layers if self._is_layer_finished(layer)]
        return frozenset(max(layer, key=lambda call: call.ended).node for layer in layers)

    def _is_layer_finished(self, layer: Sequence[AgentCall]) -> bool:
        number = layer[0].layer
        return number < self.layers[-1][0].layer or len(layer) >= self.layer_sizes.get(number, 0)

    @property
    def planned_proposals(self) -> int:
        """How many proposals there would be, had all been asked and none dropped."""
        return max(sum(self.layer_sizes.values()), len(self.proposals))

    @property
    def seconds(self) -> float:
        """Seconds that the calls on the critical path took."""
        return sum(call.seconds for call in self.calls if call.node in self.critical_path)

    @property
    def billed_calls(self) -> Sequence[AgentCall]:
        """The calls that cost something, or may have; also those whose answer is not used."""
        return [call for call in (*self.calls, *self.failed_writers) if call.is_billed]

    @property
    def tokens(self) -> int:
        """Tokens in all, as far as they are known."""
        return sum(call.usage["total_tokens"] for call in self.billed_calls if call.usage)

    @property
    def cached_prompt_tokens(self) -> int:
        """Tokens that were read from providers' caches, as far as they said."""
        return sum(call.cached_prompt_tokens for call in self.billed_calls)

    @property
    def cached_calls(self) -> Sequence[AgentCall]:
        """The calls whose answers are from the cache."""
        return [call for call in self.calls if call.cached]

    @property
    def cost(self) -> float | None:
        """US dollars as far as they are known; `None` if nothing is."""
        costs = [call.cost for call in self.billed_calls if call.cost is not None]
        return sum(costs) if costs else None

    @property
    def cost_is_complete(self) -> bool:
        """Whether the cost of every call that may be billed is in the sum."""
        return all(call.is_cost_known for call in self.billed_calls)

    @property
    def usage_is_complete(self) -> bool:
        """Whether the tokens of every call that may be billed are in the sum."""
        return all(call.usage and not call.may_be_billed for call in self.billed_calls)


def read_run(
    state: Mapping[str, Any],
    *,
    prices: Prices | None = None,
    order: Iterable[str] = (),
    failed_calls: Iterable[FailedCall] = (),
) -> RunRecord:
    """Read what happened in the present turn of a state.

    Args:
        state: What `invoke` returned, or the `values` of a `StateSnapshot`.
        prices: As in `estimate_cost`.
        order: Nodes in the order in which they are wanted; by default the order in which the
            mixture names them, as far as the state tells it.
        failed_calls: Those of an `AggregatorError`; by default those that are stored of it, in a
            state that was read from a store of runs.

    Raises:
        ValueError: If that is not the state of a mixture.
    """
    if not isinstance(state, Mapping) or not state.get("messages"):
        raise ValueError(f"`state`: expected the state of a mixture, with messages, got {state!r}")
    last = state["messages"][-1]
    answer = last if isinstance(last, AIMessage) else None
    summary: Mapping[str, Any] = read_run_summary(answer) or {}
    nodes = list(order or summary.get("proposers", ()))
    calls = [
        replace(_proposer_call(node, proposal, prices), selected=node == summary.get("selected"))
        for node, proposal in _order_proposals(current_turn_proposals(state), nodes)
    ]
    if answer and summary:
        calls.append(_aggregator_call(answer, summary, prices))
    elif failure := state.get(AGGREGATOR_FAILURE):
        failed_calls = tuple(failed_calls) or failure.get("failed_calls", ())
        calls.append(_failed_aggregator_call(failure, calls, is_counted=bool(failed_calls)))
    failed_calls = (*summary.get("failed_calls", ()), *failed_calls)
    writers = _read_failed_writers(failed_calls, calls, prices)
    sizes = _count_layer_sizes(nodes)
    return RunRecord(last_question(state["messages"]), answer, calls, sizes, writers)


def _read_failed_writers(
    failed_calls: Iterable[FailedCall], calls: Sequence[AgentCall], prices: Prices | None
) -> list[AgentCall]:
    """Read the calls of aggregators that failed: of the layer behind the proposers."""
    layer = 1 + max((call.layer for call in calls if call.node != AGGREGATOR), default=0)
    return [_failed_writer_call(each, layer, prices) for each in failed_calls]


def _order_proposals(
    proposals: Mapping[str, Proposal], nodes: Sequence[str]
) -> list[tuple[str, Proposal]]:
    """Order proposals by layer, and in a layer as the nodes stand; others come last."""
    positions = {node: position for position, node in enumerate(nodes)}
    return sorted(
        proposals.items(),
        key=lambda item: (item[1]["layer"], positions.get(item[0], len(positions))),
    )


def first_question(messages: Sequence[AnyMessage]) -> str:
    """Give the first question of a conversation, without what is attached to it."""
    questions = (message.text for message in messages if message.type == "human")
    return remove_attachments(next(questions, ""))


def last_question(messages: Sequence[AnyMessage]) -> str:
    """Give the last question of a conversation, without what is attached to it."""
    questions = [message.text for message in messages if message.type == "human"]
    return remove_attachments(questions[-1]) if questions else ""


def current_turn_proposals(state: Mapping[str, Any]) -> dict[str, Proposal]:
    """Give the proposals of the present turn: a question not yet begun has none."""
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
        **_cost_fields(proposal["model"], proposal["usage"], proposal.get("cached"), prices),
    )


def _aggregator_call(
    answer: AIMessage, summary: Mapping[str, Any], prices: Prices | None
) -> AgentCall:
    usage = summary.get("aggregator_usage") or answer.usage_metadata
    hedged = summary.get("hedged", ())
    return AgentCall(
        node=AGGREGATOR,
        layer=summary["layers"] + 1,
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
        hedged=any(parse_node_name(node) is None for node in hedged),
        may_be_billed=AGGREGATOR in hedged and AGGREGATOR in summary["usage_unknown"],
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
        may_be_billed=not is_counted,  # an earlier version's store does not tell what it took
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
    """Tell what a call used and cost, or what it saved."""
    if not cached:
        return {"usage": usage, "cost": estimate_cost(model, usage, prices)}
    saved = estimate_cost(model, cached["usage"], prices)
    return {"usage": usage, "cost": 0.0, "cached": cached, "saved_cost": saved}


def _count_layer_sizes(nodes: Iterable[str]) -> Counter[int]:
    names = filter(None, map(parse_node_name, nodes))
    return Counter(name.layer for name in names if not name.is_layer_aggregator)
