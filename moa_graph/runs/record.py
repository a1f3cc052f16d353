"""What happened in a run, read from its state: for drawings, reports and tables."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from langchain_core.messages import AIMessage, AnyMessage

from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.state import Cached, Proposal
from moa_graph.graph.turns import open_messages
from moa_graph.models.pricing import Prices, estimate_cost

CUT_OFF = ("cut off", "no answer within its timeout")
"""How the errors of `race` begin; those of others begin with the name of their class."""

FILE = "\n\n<file "
"""What stands before a file that is attached to a question."""

Status = Literal["answered", "failed", "cut off"]


def status_of(error: str | None) -> Status:
    """Tell how a call ended."""
    if error is None:
        return "answered"
    return "cut off" if error.startswith(CUT_OFF) else "failed"


@dataclass(frozen=True)
class Call:
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
    unread: int
    """Characters of the references that it was not shown."""
    usage: Mapping[str, Any] | None
    cost: float | None
    """US dollars, estimated; `None` if not known."""
    cached: Cached | None = None
    """What it took before, if the answer is from the cache; now it took and cost nothing."""
    saved: float | None = None
    """US dollars that it cost then, estimated; `None` if not known."""
    selected: bool = False
    """Whether the aggregator picked it to be the answer."""

    @property
    def status(self) -> Status:
        """How it ended."""
        return status_of(self.error)

    @property
    def prompt_cached(self) -> int:
        """Tokens that it read from its provider's cache, as far as that said."""
        return ((self.usage or {}).get("input_token_details") or {}).get("cache_read") or 0

    @property
    def ended(self) -> float:
        """Seconds since 1970."""
        return (self.started or 0.0) + self.seconds


@dataclass(frozen=True)
class Run:
    """One turn of a mixture: a question, the calls it led to, and the answer."""

    question: str
    answer: AIMessage | None
    """`None` where the run has not come to its end."""
    calls: Sequence[Call]
    """In order: layer by layer, the aggregator's last."""
    planned: Mapping[int, int] = field(default_factory=dict)
    """How many proposers each layer has, as far as it is known; some may not have been asked."""

    @property
    def proposals(self) -> Sequence[Call]:
        """The calls of proposers."""
        return [call for call in self.calls if call.node != AGGREGATOR]

    @property
    def selected(self) -> Call | None:
        """The proposal that the aggregator picked, if it wrote nothing itself."""
        return next((call for call in self.calls if call.selected), None)

    @cached_property
    def layers(self) -> Sequence[Sequence[Call]]:
        """The calls of each layer, and last the aggregator's alone."""
        numbers = sorted({call.layer for call in self.calls})
        return [[call for call in self.calls if call.layer == number] for number in numbers]

    @cached_property
    def critical(self) -> frozenset[str]:
        """The nodes that the run waited for: the last one to end of each layer that is over."""
        layers = [layer for layer in self.layers if self._is_over(layer)]
        return frozenset(max(layer, key=lambda call: call.ended).node for layer in layers)

    def _is_over(self, layer: Sequence[Call]) -> bool:
        number = layer[0].layer
        return number < self.layers[-1][0].layer or len(layer) >= self.planned.get(number, 0)

    @property
    def asked(self) -> int:
        """How many proposals there would be, had all been asked and none dropped."""
        return max(sum(self.planned.values()), len(self.proposals))

    @property
    def seconds(self) -> float:
        """Seconds that the calls on the critical path took."""
        return sum(call.seconds for call in self.calls if call.node in self.critical)

    @property
    def tokens(self) -> int:
        """Tokens in all, as far as they are known."""
        return sum(call.usage["total_tokens"] for call in self.calls if call.usage)

    @property
    def prompt_cached(self) -> int:
        """Tokens that were read from providers' caches, as far as they said."""
        return sum(call.prompt_cached for call in self.calls)

    @property
    def cached(self) -> Sequence[Call]:
        """The calls whose answers are from the cache."""
        return [call for call in self.calls if call.cached]

    @property
    def cost(self) -> float | None:
        """US dollars as far as they are known; `None` if nothing is."""
        known = [call.cost for call in self.calls if call.cost is not None]
        return sum(known) if known else None

    @property
    def complete(self) -> bool:
        """Whether the cost of every call that gave an answer is in the sum."""
        return all(call.cost is not None for call in self.calls if call.error is None)

    @property
    def counted(self) -> bool:
        """Whether the tokens of every call that gave an answer are in the sum."""
        return all(call.usage is not None for call in self.calls if call.error is None)


def read_run(
    state: Mapping[str, Any], *, prices: Prices | None = None, order: Iterable[str] = ()
) -> Run:
    """Read what happened in the present turn of a state.

    Args:
        state: What `invoke` returned, or the `values` of a `StateSnapshot`.
        prices: As in `estimate_cost`.
        order: Nodes in the order in which they are wanted; by default the order in which the
            mixture names them, as far as the state tells it.

    Raises:
        ValueError: If that is not the state of a mixture.
    """
    if not isinstance(state, Mapping) or not state.get("messages"):
        raise ValueError(f"`state`: expected the state of a mixture, with messages, got {state!r}")
    last = state["messages"][-1]
    answer = last if isinstance(last, AIMessage) else None
    account = (answer.response_metadata.get("moa") if answer else None) or {}
    proposals = present_proposals(state)
    nodes = list(order or account.get("proposers", ()))
    places = {node: place for place, node in enumerate(nodes)}
    ordered = sorted(
        proposals.items(), key=lambda item: (item[1]["layer"], places.get(item[0], len(places)))
    )
    calls = [
        replace(_call(node, proposal, prices), selected=node == account.get("selected"))
        for node, proposal in ordered
    ]
    if answer and account:
        calls.append(_last_call(answer, account, prices))
    return Run(question_of(state["messages"]), answer, calls, _planned(nodes))


def question_of(messages: Sequence[AnyMessage]) -> str:
    """Give the last question of a conversation, without the files that are attached to it."""
    asked = [message.text for message in messages if message.type == "human"]
    return asked[-1].partition(FILE)[0] if asked else ""


def present_proposals(state: Mapping[str, Any]) -> dict[str, Proposal]:
    """Give the proposals of the present turn: a question not yet begun has none."""
    proposals = dict(state.get("proposals") or {})
    if not (asked := {message.id for message in open_messages(state.get("messages") or ())}):
        return proposals if state.get("messages") else {}
    return {node: p for node, p in proposals.items() if p["turn"] in asked}


def _call(node: str, proposal: Proposal, prices: Prices | None) -> Call:
    return Call(
        node=node,
        layer=proposal["layer"],
        agent=proposal["agent"],
        model=proposal["model"],
        text=proposal["content"],
        error=proposal["error"],
        started=proposal.get("started"),
        seconds=proposal["seconds"],
        unread=proposal.get("unread", 0),
        **_paid(proposal["model"], proposal["usage"], proposal.get("cached"), prices),
    )


def _last_call(answer: AIMessage, account: Mapping[str, Any], prices: Prices | None) -> Call:
    usage = account.get("aggregator_usage") or answer.usage_metadata
    return Call(
        node=AGGREGATOR,
        layer=account["layers"] + 1,
        agent=AGGREGATOR,
        model=account["aggregator"],
        text=answer.text,
        error=None,
        started=account.get("started"),
        seconds=account.get("seconds", 0.0),
        unread=account["unread"],
        **_paid(account["aggregator"], usage, account.get("aggregator_cached"), prices),
    )


def _paid(
    model: str, usage: Mapping[str, Any] | None, cached: Cached | None, prices: Prices | None
) -> dict[str, Any]:
    """Tell what a call used and cost, or what it saved."""
    if not cached:
        return {"usage": usage, "cost": estimate_cost(model, usage, prices)}
    saved = estimate_cost(model, cached["usage"], prices)
    return {"usage": usage, "cost": 0.0, "cached": cached, "saved": saved}


def _planned(nodes: Iterable[str]) -> Counter[int]:
    layers = (re.fullmatch(rf"layer_(\d+)_(?!{AGGREGATOR}$).+", node) for node in nodes)
    return Counter(int(match[1]) for match in layers if match)
