"""The nodes of the graph: what a proposer, a hub and the aggregator do."""

from collections.abc import Callable, Sequence
from functools import reduce
from time import perf_counter
from typing import Any
from uuid import uuid4

from langchain_core.messages import AnyMessage
from langchain_core.messages.ai import add_usage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import Command

from moa_graph import answers, quorum
from moa_graph.calling import aask, ask
from moa_graph.naming import AGGREGATOR
from moa_graph.prompts import add_system, template_references
from moa_graph.seats import Seat
from moa_graph.state import LayerState, MoAState, Proposal


class Node(RunnableLambda[Any, Any]):
    """A node with a sync and an async side, and no trace run beside LangGraph's own."""

    def __init__(
        self, func: Callable[..., Any], afunc: Callable[..., Any], seat: Seat | None = None
    ) -> None:
        super().__init__(func, afunc)
        self._call, self._acall, self._seat = func, afunc, seat

    @property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The graph that the agent of this node is, if it is one, so that LangGraph draws it."""
        graph = self._seat and self._seat.agent.model
        return [graph] if isinstance(graph, PregelProtocol) else []

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the sync side."""
        return self._call(input, config or {})

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the async side."""
        return await self._acall(input, config or {})


def proposer_node(seat: Seat) -> Node:
    """Make the node that asks one proposer. It writes a proposal, whatever happens."""

    def propose(state: LayerState, config: RunnableConfig) -> dict[str, Any]:
        model, messages, started = seat.model, _messages(seat, state), perf_counter()
        try:
            outcome: Any = ask(model, messages, _tagged(seat, config))
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the siblings go on
            outcome = error
        return _proposal(seat, state, outcome, perf_counter() - started)

    async def apropose(state: LayerState, config: RunnableConfig) -> dict[str, Any]:
        model, messages, started = seat.model, _messages(seat, state), perf_counter()
        try:
            outcome: Any = await aask(model, messages, _tagged(seat, config))
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the siblings go on
            outcome = error
        return _proposal(seat, state, outcome, perf_counter() - started)

    return Node(propose, apropose, seat)


def hub_node(layer: Sequence[Seat], readers: Sequence[Seat], prompt: str) -> Node:
    """Make the node that templates the proposals of a layer for those who read them next."""

    def gather(state: MoAState, _: RunnableConfig) -> Command[str]:
        answered = {s.node: p for s in layer if (p := state["proposals"].get(s.node))}
        if again := quorum.failed_to_ask_again(layer[0].layer, answered):
            return Command(goto=again)
        references = (p["content"] for p in answered.values() if not p["error"])
        return Command(
            update={"references": template_references(references, prompt)},
            goto=[seat.node for seat in readers],
        )

    async def agather(state: MoAState, config: RunnableConfig) -> Command[str]:
        return gather(state, config)

    return Node(gather, agather)


def aggregator_node(seat: Seat, proposers: Sequence[Seat]) -> Node:
    """Make the node that writes the final answer and says how it came about."""

    def aggregate(state: LayerState, config: RunnableConfig) -> dict[str, Any]:
        return _final(proposers, state, ask(seat.model, _messages(seat, state), config))

    async def aaggregate(state: LayerState, config: RunnableConfig) -> dict[str, Any]:
        return _final(proposers, state, await aask(seat.model, _messages(seat, state), config))

    return Node(aggregate, aaggregate, seat)


def _messages(seat: Seat, state: LayerState) -> Sequence[AnyMessage]:
    """Assemble what an agent reads: the conversation, its own system prompt, the references."""
    messages: Sequence[AnyMessage] = state["messages"]
    if not messages:
        raise ValueError("`messages` is empty; expected at least one message to answer")
    if seat.agent.system:
        messages = add_system(messages, seat.agent.system, in_front=True)
    if seat.layer > 1:
        messages = add_system(messages, state["references"])
    return messages


def _tagged(seat: Seat, config: RunnableConfig) -> RunnableConfig:
    if not seat.hidden:
        return config
    return {**config, "tags": [*(config.get("tags") or ()), TAG_NOSTREAM]}


def _proposal(seat: Seat, state: MoAState, outcome: Any, seconds: float) -> dict[str, Any]:
    """Turn an answer, or the exception in its place, into what the node writes."""
    content, usage, reason, error = "", None, None, None
    try:
        if isinstance(outcome, Exception):
            raise outcome  # noqa: TRY301  # an answer that cannot be read fails alike
        message = answers.to_message(outcome)
        content = answers.without_thoughts(message.text)
        usage, reason = answers.total_usage(outcome), answers.finish_reason(message)
        if not content:
            error = f"empty answer (finish reason: {reason})"
    except Exception as failure:  # noqa: BLE001
        error = answers.describe(failure)
    proposal = Proposal(
        layer=seat.layer,
        agent=seat.name,
        model=seat.agent.label,
        content=content,
        error=error,
        usage=usage,
        seconds=round(seconds, 3),
        finish_reason=reason,
        turn=state["messages"][-1].id or "",
        id=uuid4().hex,
    )
    if error:
        quorum.remember(proposal["id"])
    return {"proposals": {seat.node: proposal}}


def _final(proposers: Sequence[Seat], state: LayerState, output: Any) -> dict[str, Any]:
    """Turn the aggregator's output into the message that joins the conversation."""
    message = answers.to_message(output)
    content = message.content
    if isinstance(content, str) and "think>" in content:
        content = answers.without_thoughts(content)  # the next turn shows it to others
    if not content and not message.tool_calls:
        reason = answers.finish_reason(message)
        raise ValueError(f"`aggregator` gave an empty answer (finish reason: {reason})")
    account = _account(proposers, state, answers.total_usage(output))
    metadata = {**message.response_metadata, "moa": account}
    update = {"content": content, "response_metadata": metadata}
    return {"messages": [message.model_copy(update=update)]}


def _account(
    proposers: Sequence[Seat], state: LayerState, usage: dict[str, Any] | None
) -> dict[str, Any]:
    """Say how an answer came about."""
    proposals = {s.node: p for s in proposers if (p := state["proposals"].get(s.node))}
    failed = [node for node, proposal in proposals.items() if proposal["error"]]
    calls = {node: p["usage"] for node, p in proposals.items()} | {AGGREGATOR: usage}
    known = [each for each in calls.values() if each]
    return {
        "layers": proposers[-1].layer,
        "asked": len(proposers),
        "received": len(proposals) - len(failed),
        "failed": failed,
        "usage": dict(reduce(add_usage, known)) if known else None,  # type: ignore[arg-type]
        "usage_unknown": [node for node, each in calls.items() if not each and node not in failed],
    }
