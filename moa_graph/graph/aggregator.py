"""The nodes that bring proposals together: a hub behind each layer, and the aggregator."""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from time import perf_counter, time
from typing import Any, Literal

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.messages.ai import add_usage
from langchain_core.runnables import RunnableConfig
from langgraph.types import CachePolicy

from moa_graph.graph import quorum
from moa_graph.graph.answer_cache import Cache, Kept, Memory
from moa_graph.graph.deadlines import Race
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.policy import Rules
from moa_graph.graph.proposer import (
    Node,
    catching,
    messages_for,
    references_of,
    tagged,
)
from moa_graph.graph.spec import Row, Seat
from moa_graph.graph.state import (
    NOTHING_USED,
    Cached,
    LayerState,
    MoAState,
    marked_for_retry,
)
from moa_graph.prompting import parsing
from moa_graph.prompting.layout import Layout
from moa_graph.redaction import describe

Final = Literal["write", "select"]
"""What the aggregator does."""


class AggregatorError(RuntimeError):
    """No aggregator wrote an answer.

    `invoke(None, config)` on the same thread asks the aggregators again, and no proposer.
    """

    failures: dict[str, str]
    """Cause of each failure: of the `aggregator`, and of each of its fallbacks."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        self.failures = dict(failures)
        causes = "; ".join(f"{name}: {cause}" for name, cause in self.failures.items())
        super().__init__(f"no final answer: {causes}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures,)


def hub_node(row: Row, layout: Layout) -> Node:
    """Make the node that templates the proposals of a layer for those who read them next.

    Where the layer lacks its quorum, the node marks the proposals to be asked for again.
    """

    def gather(state: MoAState, *_: Any) -> dict[str, Any]:
        proposals = row.proposals_in(state)
        if again := quorum.nodes_to_ask_again(row.number, proposals, row.rules):
            marks = {node: marked_for_retry(proposals[node]) for node in again}
            return {"proposals": marks, "is_retry": True}
        return {"references": [layout.template(*references_of(list(proposals), state))]}

    async def agather(state: MoAState, *_: Any) -> dict[str, Any]:
        return gather(state)

    return Node(gather, agather)


def layer_router(hub: str, row: Row, readers: Sequence[Seat]) -> Node:
    """Make the conditional edges behind a layer aggregator.

    They read the marks that the layer aggregator, or a human through `update_state`, left in the
    state. After an update as the layer aggregator that leaves the layer without its quorum, the
    node itself decides.
    """
    onward = [seat.node for seat in readers]

    def route(state: MoAState, *_: Any) -> Sequence[str]:
        proposals = row.proposals_in(state)
        if marked := quorum.marked_nodes(proposals):
            return marked
        return onward if quorum.has_quorum(proposals, row.rules) else [hub]

    async def aroute(state: MoAState, *_: Any) -> Sequence[str]:
        return route(state)

    return Node(route, aroute)


def aggregator_node(
    writers: Sequence[Seat],
    rows: Sequence[Row],
    layout: Layout,
    final: Final = "write",
    policy: CachePolicy[Any] | None = None,
) -> Node:
    """Make the node that gives the final answer: the first of the writers that can does.

    Args:
        writers: The aggregator, and its fallbacks.
        rows: The layers of proposers.
        layout: What a writer of an answer reads, and where.
        final: Whether they write the answer, or pick it among the last layer's proposals.
        policy: Whether what they wrote before is taken from the cache.
    """
    alone = Race(Rules(quorum=1), runners=1, needed=1)
    account_of = Choice if final == "select" else Account
    layout = layout.to_select() if final == "select" else layout
    memories = [Memory(seat, (), layout, policy) for seat in writers]

    def aggregate(state: LayerState, config: RunnableConfig, cache: Cache | None) -> dict[str, Any]:
        account = account_of(rows, state)
        for seat, memory in zip(writers, memories, strict=True):
            messages = account.begin(seat, state, layout)
            with catching(partial(account.fail, seat)):
                place = memory.place(messages, cache)
                if kept := place.get():
                    return {"messages": [account.recall(seat, kept)]}
                call = (seat.model.invoke, messages, tagged(seat, config))
                output = alone.call(seat.agent.timeout, *call)
                answer = account.sign(seat, output)
                place.keep(output, account.seconds)
                return {"messages": [answer]}
        raise AggregatorError(account.failures)

    async def aaggregate(
        state: LayerState, config: RunnableConfig, cache: Cache | None
    ) -> dict[str, Any]:
        account = account_of(rows, state)
        for seat, memory in zip(writers, memories, strict=True):
            messages = account.begin(seat, state, layout)
            with catching(partial(account.fail, seat)):
                place = memory.place(messages, cache)
                if kept := await place.aget():
                    return {"messages": [account.recall(seat, kept)]}
                async with alone.cutting_off(seat.agent.timeout):
                    output = await seat.model.ainvoke(messages, tagged(seat, config))
                answer = account.sign(seat, output)
                await place.akeep(output, account.seconds)
                return {"messages": [answer]}
        raise AggregatorError(account.failures)

    return Node(aggregate, aaggregate, writers[0])


class Account:
    """How an answer came about."""

    def __init__(self, rows: Sequence[Row], state: LayerState) -> None:
        nodes = [seat.node for row in rows for seat in row.seats]
        self.layers, self.proposers, self.unread = len(rows), nodes, 0
        self.proposals = {node: p for node in nodes if (p := state["proposals"].get(node))}
        self.failures: dict[str, str] = {}
        self._cached: Cached | None = None

    @property
    def seconds(self) -> float:
        """Seconds since a writer was asked."""
        return round(perf_counter() - self._clock, 3)

    def begin(self, seat: Seat, state: LayerState, layout: Layout) -> Sequence[AnyMessage]:
        """Assemble what a writer reads, and note when it is asked."""
        messages, self.unread = messages_for(seat, state, layout)
        self._started, self._clock = round(time(), 3), perf_counter()
        return messages

    def fail(self, seat: Seat, error: Exception) -> None:
        """Take in why a writer gave no answer."""
        self.failures[seat.node] = describe(error, *seat.keys)

    def recall(self, seat: Seat, kept: Kept) -> AIMessage:
        """Turn what an aggregator gave before into the message that joins the conversation."""
        self._cached = kept["took"]
        return self.sign(seat, kept["answer"])

    def sign(self, seat: Seat, output: Any) -> AIMessage:
        """Turn an aggregator's output into the message that joins the conversation.

        Raises:
            EmptyAnswerError: If it is empty.
            TypeError: If it is no answer at all.
        """
        message = parsing.to_message(output)
        answer = message.model_copy(update={"content": parsing.said(message)})
        if not answer.text.strip() and not answer.tool_calls:
            raise parsing.EmptyAnswerError(message)
        account = self._tell(seat, parsing.total_usage(output))
        answer.response_metadata = {**message.response_metadata, "moa": account}
        return answer

    def _tell(self, seat: Seat, usage: dict[str, Any] | None) -> dict[str, Any]:
        failed = {node: p["error"] for node, p in self.proposals.items() if p["error"]}
        calls = {node: p["usage"] for node, p in self.proposals.items() if node not in failed}
        taken = {node: c for node, p in self.proposals.items() if (c := p.get("cached"))}
        if self._cached:
            usage, taken[AGGREGATOR] = {**NOTHING_USED}, self._cached
        billed = [each for each in (p["usage"] for p in self.proposals.values()) if each]
        known = [*billed, usage] if usage else billed
        saved = [each for each in (cached["usage"] for cached in taken.values()) if each]
        told = {
            "cached": list(taken),
            "saved": _total(saved),
            "aggregator_cached": self._cached,
        }
        return {
            "layers": self.layers,
            "proposers": self.proposers,
            "asked": len(self.proposers),
            "received": len(calls),
            "failed": list(failed),
            "causes": failed | self.failures,
            "aggregator": seat.agent.label,
            "aggregator_usage": usage,
            "started": self._started,
            "seconds": self.seconds,
            "unread": self.unread,
            "usage": _total(known),
            "usage_unknown": [n for n, u in {**calls, AGGREGATOR: usage}.items() if not u],
            **(told if taken else {}),
        }


def _total(usages: Sequence[Any]) -> dict[str, Any] | None:
    return dict(reduce(add_usage, usages)) if usages else None  # type: ignore[arg-type]


class Choice(Account):
    """How an answer came about that is one of the proposals.

    The references are templated here once more, not by the hub alone: a thread can go on with a
    mixture that writes where it began with one that selects, and the other way round.
    """

    def __init__(self, rows: Sequence[Row], state: LayerState) -> None:
        super().__init__(rows, state)
        last = {seat.node for seat in rows[-1].seats}
        self._candidates = [
            (node, p) for node, p in self.proposals.items() if node in last and not p["error"]
        ]

    def begin(self, seat: Seat, state: LayerState, layout: Layout) -> Sequence[AnyMessage]:
        """Assemble what a judge reads, and note when it is asked."""
        return super().begin(seat, {**state, "references": []}, layout)  # a prompt of its own

    def sign(self, seat: Seat, output: Any) -> AIMessage:
        """Make the proposal that a judge picked the message that joins the conversation.

        Raises:
            NoPickError: If it picked none.
            TypeError: If it gave no answer at all.
        """
        pick = parsing.to_message(output)
        number = parsing.picked_number(pick, len(self._candidates))
        node, proposal = self._candidates[number - 1]
        reason = {"finish_reason": r} if (r := proposal["finish_reason"]) else {}
        account = {**self._tell(seat, parsing.total_usage(output)), "selected": node}
        return AIMessage(
            proposal["content"],
            id=pick.id,
            usage_metadata=pick.usage_metadata,
            response_metadata={**reason, "moa": account},
        )
