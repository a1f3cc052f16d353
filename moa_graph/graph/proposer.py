"""What one proposer does: read, ask, time, count, and keep the answer or the failure."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter, time
from typing import Any
from uuid import uuid4

from langchain_core.messages import AnyMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import CachePolicy

from moa_graph.graph import deadlines, quorum
from moa_graph.graph.answer_cache import Cache, Kept, Memory
from moa_graph.graph.spec import Row, Seat
from moa_graph.graph.state import (
    ASK_AGAIN,
    NOTHING_USED,
    LayerState,
    MoAState,
    Proposal,
    awaits_retry,
)
from moa_graph.graph.turns import open_messages
from moa_graph.prompting import parsing
from moa_graph.prompting.layout import Layout, add_system
from moa_graph.prompting.tokens import count_message_tokens, cut, fits
from moa_graph.redaction import describe

WRITTEN_BY = "moa_agent"
"""In the metadata of a call: whose it is."""

DEFAULT_ANSWER = 4096  # tokens that are kept free for an answer where no bound is set


class Node(RunnableLambda[Any, Any]):
    """A node with a sync and an async side, called without a trace run beside LangGraph's own.

    LangGraph finds the graph inside a node by its `deps`, which only a `RunnableLambda` has.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        afunc: Callable[..., Any],
        seat: Seat | None = None,
        cache: Cache | None = None,
    ) -> None:
        super().__init__(func, afunc)
        self._call, self._acall, self._seat, self._cache = func, afunc, seat, cache

    def with_cache(self, cache: Cache) -> "Node":
        """Copy it for a graph that is compiled with a cache."""
        return Node(self._call, self._acall, self._seat, cache)

    @property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The graph that the agent of this node is, if it is one, so that LangGraph draws it."""
        graph = self._seat and self._seat.agent.model
        return [graph] if isinstance(graph, PregelProtocol) else []

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the sync side."""
        return self._call(input, config or {}, self._cache)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the async side."""
        return await self._acall(input, config or {}, self._cache)

    # LangGraph streams a node where `astream_events` or `astream_log` listens. A RunnableLambda
    # would call the two functions itself then, without the cache; a plain runnable asks these two.
    stream, astream = Runnable.stream, Runnable.astream
    transform, atransform = Runnable.transform, Runnable.atransform


def proposer_node(
    seat: Seat, row: Row, layout: Layout, policy: CachePolicy[Any] | None = None
) -> Node:
    """Make the node that asks one proposer. It writes a proposal, whatever happens."""
    memory = Memory(seat, row.seats[: row.seats.index(seat)], layout, policy)
    alone = nullcontext(deadlines.Race(row.rules, runners=1, needed=1))

    def racing(state: LayerState) -> AbstractContextManager[deadlines.Race]:
        return alone if row.rules.wait_for_all else _race(row, state)

    def propose(state: LayerState, config: RunnableConfig, cache: Cache | None) -> dict[str, Any]:
        model, attempt = seat.model, Attempt(seat, row, state, layout)
        with racing(state) as running, catching(attempt.fail):
            place = memory.place(attempt.messages, cache, anew=attempt.anew)
            if kept := place.get():
                attempt.recall(kept)
                running.answer()
            else:
                call = (model.invoke, attempt.messages, tagged(seat, config))
                answer = running.call(seat.agent.timeout, *call)
                attempt.read(answer)
                running.answer()
                place.keep(answer, attempt.proposal["seconds"])
        return {"proposals": {seat.node: attempt.proposal}}

    async def apropose(
        state: LayerState, config: RunnableConfig, cache: Cache | None
    ) -> dict[str, Any]:
        model, attempt = seat.model, Attempt(seat, row, state, layout)
        with racing(state) as running, catching(attempt.fail):
            place = memory.place(attempt.messages, cache, anew=attempt.anew)
            if kept := await place.aget():
                attempt.recall(kept)
                running.answer()
            else:
                async with running.cutting_off(seat.agent.timeout):
                    answer = await model.ainvoke(attempt.messages, tagged(seat, config))
                attempt.read(answer)
                running.answer()
                await place.akeep(answer, attempt.proposal["seconds"])
        return {"proposals": {seat.node: attempt.proposal}}

    return Node(propose, apropose, seat)


@contextmanager
def catching(fail: Callable[[Exception], None]) -> Iterator[None]:
    """Hand over whatever goes wrong inside; raised, it would cancel the siblings' calls."""
    try:
        yield
    except GraphBubbleUp:  # LangGraph's own: a graph inside stops for a human
        raise
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        fail(RuntimeError(f"the call cancelled itself: {error!r}"))
    except Exception as error:  # noqa: BLE001  # whatever it is
        fail(error)


class Attempt:
    """One attempt of an agent: what it reads, and the proposal that comes of it."""

    def __init__(self, seat: Seat, row: Row, state: LayerState, layout: Layout) -> None:
        self.messages, unread = messages_for(seat, state, layout)
        self._seat, self._most = seat, layout.max_reference_tokens
        before = state.get("proposals", {}).get(seat.node)
        self.anew = bool(before and before.get("error") == ASK_AGAIN)
        self._started, started = perf_counter(), time()
        self.proposal = Proposal(
            layer=seat.layer,
            agent=seat.name,
            model=seat.agent.label,
            content="",
            error=None,
            cut=0,
            unread=unread,
            usage=None,
            cached=None,
            started=round(started, 3),
            seconds=0.0,
            finish_reason=None,
            turn=turn_of(row, state),
            id=uuid4().hex,
        )

    def read(self, output: Any) -> None:
        """Take in what the model gave.

        Raises:
            EmptyAnswerError: If that is empty.
            TypeError: If it is no answer at all.
        """
        message = parsing.to_message(output)
        self.proposal["seconds"] = round(perf_counter() - self._started, 3)
        self.proposal["usage"] = parsing.total_usage(output)
        self.proposal["finish_reason"] = parsing.finish_reason(message)
        content = parsing.without_thoughts(parsing.storable(message.text))
        if not content:
            raise parsing.EmptyAnswerError(message)
        self.proposal["content"], self.proposal["cut"] = cut(content, self._most)

    def recall(self, kept: Kept) -> None:
        """Take in what the model gave before."""
        self.read(kept["answer"])
        self.proposal["usage"], self.proposal["cached"] = {**NOTHING_USED}, kept["took"]

    def fail(self, error: Exception) -> None:
        """Take in why there is no answer."""
        self.proposal["seconds"] = round(perf_counter() - self._started, 3)
        self.proposal["error"] = describe(error, *self._seat.keys)
        quorum.remember(self.proposal["id"])


def messages_for(
    seat: Seat, state: LayerState, layout: Layout, *, whole: bool = False
) -> tuple[Sequence[AnyMessage], int]:
    """Assemble what an agent reads: the conversation, its own system prompt, the references.

    Args:
        seat: The agent.
        state: What it reads.
        layout: Where the references go.
        whole: Whether it is known that they need not be cut.

    Returns:
        The messages, and how many characters of the references had to be left out because they
        are too long together, or for the model's context.

    Raises:
        LookupError: If the state has none of the proposals that the agent reads.
    """
    if not state["messages"]:
        raise ValueError("`messages` is empty; expected at least one message to answer")
    messages = seat.view(state["messages"])
    if seat.agent.system:
        messages = add_system(messages, seat.agent.system, in_front=True)
    if seat.layer == 1:
        return messages, 0
    references, seed = references_of(seat.reads, state)
    if not references and not whole:  # a hub lets nobody go on without one
        raise LookupError(
            f"{seat.node}: the proposals that it reads are gone; a checkpointer must keep all "
            "checkpoints of a run, not only the last"
        )
    [text], unread = state.get("references") or [layout.template(references, seed)], 0
    if whole:
        return layout.place(messages, text), unread
    rooms = [room for room in (_free_context(seat, messages), layout.room) if room is not None]
    if (room := min(rooms, default=None)) is not None and not fits(text, room):
        text, unread = layout.template_within(references, room, seed)
    return layout.place(messages, text), unread


def references_of(nodes: Sequence[str], state: MoAState) -> tuple[list[str], str]:
    """Give what these nodes proposed, and a seed that none of them knows."""
    found = [p for node in nodes if (p := state["proposals"].get(node)) and not p["error"]]
    return [p["content"] for p in found], "".join(p.get("id", "") for p in found)


def _free_context(seat: Seat, messages: Sequence[AnyMessage]) -> int | None:
    """How many tokens of a model's context are free for references, if its size is known."""
    profile = getattr(seat.model, "profile", None) or {}
    context = seat.agent.max_input_tokens or profile.get("max_input_tokens")
    if not context:
        return None
    answer = seat.agent.max_tokens or min(DEFAULT_ANSWER, context // 4)
    return max(0, context - answer - count_message_tokens(messages))


def turn_of(row: Row, state: LayerState) -> str:
    """Give the id of the message that a layer answers.

    A message that joins the conversation between two layers does not begin a turn: a layer
    belongs to the turn of the proposals that it reads, a retry to that of its first attempt.
    """
    proposals = state.get("proposals", {})
    read = [p for node in row.seats[0].reads if (p := proposals.get(node))]
    known = read or _proposals_before_retry(row, state)
    return known[0]["turn"] if known else state["messages"][-1].id or ""


def _proposals_before_retry(row: Row, state: LayerState) -> Sequence[Proposal]:
    """Give a layer's proposals where some of its proposers are asked again; else nothing.

    Marks alone do not tell: a turn that was killed leaves them behind.
    """
    known = list(row.proposals_in(state).values())
    asked = {message.id for message in open_messages(state["messages"])}
    marked = any(awaits_retry(p) and p["turn"] in asked for p in known)
    return known if state.get("is_retry") or marked else []


def _race(row: Row, state: LayerState) -> AbstractContextManager[deadlines.Race]:
    before = _proposals_before_retry(row, state)
    answered = sum(not p["error"] for p in before)
    asked = len(before) or len(row.seats)  # what a human dropped is not asked again
    return deadlines.join(row.number, row.rules, asked=asked, answered=answered)


def tagged(seat: Seat, config: RunnableConfig) -> RunnableConfig:
    """Say whose call it is, and have `stream_mode="messages"` leave its tokens out if hidden."""
    metadata = {**(config.get("metadata") or {}), WRITTEN_BY: seat.node}
    tags = [*(config.get("tags") or ()), *([TAG_NOSTREAM] if seat.hidden else [])]
    return {**config, "metadata": metadata, "tags": tags}
