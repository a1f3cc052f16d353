"""A mixture's run as a chat model tells of it: chunks of the answer, then the answer."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.constants import TAG_NOSTREAM

from moa_graph.graph.aggregator import AggregatorError
from moa_graph.graph.builder import Compiled
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.proposer import WRITTEN_BY

_OF_ONE_CALL = {"model_name", "token_usage", "usage"}  # as providers' packages call it


def run(
    graph: Compiled,
    messages: Sequence[BaseMessage],
    callbacks: BaseCallbackManager | None,
    *,
    tokens: bool,
    once: bool = False,
) -> Generator[AIMessage]:
    """Run a mixture, apart from the graph that it may be called in.

    Args:
        graph: The mixture.
        messages: The conversation; left as it is.
        callbacks: Who is told of the calls.
        tokens: Whether the answer is wanted in chunks, too.
        once: Whether no chunk may be followed by those of another model.

    Yields:
        Chunks of the answer if they are wanted, with the usage and the account in the last; then
        the answer.

    Raises:
        QuorumError, AggregatorError: As the graph; the latter also when a stream broke off that
            cannot be taken back.
    """
    teller = Teller(graph.name, tokens=tokens, once=once)
    stream: Any = graph.stream(*_input(messages, callbacks), stream_mode=teller.modes)
    with closing(stream) as events:
        while event := _next(events):
            yield from teller.take(*event)
    teller.end()


async def arun(
    graph: Compiled,
    messages: Sequence[BaseMessage],
    callbacks: BaseCallbackManager | None,
    *,
    tokens: bool,
    once: bool = False,
) -> AsyncGenerator[AIMessage]:
    """Run a mixture as `run` does; closed, it cancels the calls."""
    teller = Teller(graph.name, tokens=tokens, once=once)
    stream: Any = graph.astream(*_input(messages, callbacks), stream_mode=teller.modes)
    async with aclosing(stream) as events:
        while event := await _anext(events):
            for message in teller.take(*event):
                yield message
    teller.end()


class Teller:
    """Tells of an answer what a chat model has to tell."""

    def __init__(self, name: str, *, tokens: bool, once: bool) -> None:
        self._name, self._tokens, self._once = name, tokens, once
        self.modes: Any = ["messages", "updates"] if tokens else ["updates"]
        self._writer: str | None = None
        self._answered = False

    def take(self, mode: str, payload: Any) -> Iterator[AIMessage]:
        """Turn an event of the graph into what is told."""
        if mode == "messages":
            chunk, metadata = payload
            if isinstance(chunk, AIMessageChunk):
                self._begin(metadata[WRITTEN_BY])
                yield _part(chunk)
        elif update := payload.get(AGGREGATOR):
            self._answered = True
            answer = _signed(update["messages"][-1], self._name)
            causes = answer.response_metadata["moa"]["causes"]
            if self._once and self._writer and self._writer in causes:
                raise AggregatorError({self._writer: causes[self._writer]})
            if self._tokens:
                whole = self._writer is None or self._writer in causes
                yield _last(answer, whole=whole)
            yield answer

    def end(self) -> None:
        """Refuse to have no answer."""
        if not self._answered:
            raise RuntimeError(
                f"{self._name!r} stopped for a human, which a chat model cannot; expected "
                "proposers that do not interrupt (compile a graph with a checkpointer for those)"
            )

    def _begin(self, writer: str) -> None:
        if self._once and self._writer not in {None, writer}:
            cause = f"its stream broke off after it had begun, and {writer!r} cannot go on with it"
            raise AggregatorError({str(self._writer): cause})
        self._writer = writer


def _input(messages: Sequence[BaseMessage], callbacks: BaseCallbackManager | None) -> Any:
    if callbacks:
        # LangGraph's own handlers would show what happens inside beside the answer itself.
        for handler in [*callbacks.handlers]:
            if type(handler).__module__.startswith("langgraph."):
                callbacks.remove_handler(handler)
        callbacks.remove_tags([TAG_NOSTREAM])
    return {"messages": _distinct(messages)}, {"callbacks": callbacks}


def _distinct(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Give each message an id of its own, by which a graph's state tells them apart."""
    distinct = dict[str, BaseMessage]()
    for message in messages:
        key = message.id if message.id and message.id not in distinct else uuid4().hex
        distinct[key] = message.model_copy(update={"id": key})
    return [*distinct.values()]


@contextmanager
def _apart() -> Iterator[None]:
    """Hide the run that a graph is called in, so that it does not take itself for a part of it.

    It would write to that run's thread, and into its stream.
    """
    token = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _next(events: Iterator[Any]) -> Any:
    with _apart():
        return next(events, None)


async def _anext(events: AsyncIterator[Any]) -> Any:
    with _apart():
        return await anext(events, None)


def _signed(message: AIMessage, name: str) -> AIMessage:
    """Copy an answer under the mixture's name, with the usage of the whole run alone."""
    kept = {k: v for k, v in message.response_metadata.items() if k not in _OF_ONE_CALL}
    metadata = {**kept, "model_name": name}
    update = {"usage_metadata": metadata["moa"]["usage"], "response_metadata": metadata}
    return message.model_copy(update=update)


def _part(chunk: AIMessageChunk) -> AIMessageChunk:
    """Copy a chunk without what is told of the whole run, at its end."""
    kept = {k: v for k, v in chunk.response_metadata.items() if k not in {*_OF_ONE_CALL, "moa"}}
    update = {"usage_metadata": None, "response_metadata": kept, "chunk_position": None}
    return chunk.model_copy(update=update)


def _last(answer: AIMessage, *, whole: bool) -> AIMessageChunk:
    """Make the last chunk: of the whole answer, or of what is told at its end."""
    if whole:
        fields = answer.model_dump(exclude={"type"})
        return AIMessageChunk(**fields, chunk_position="last")
    told = {key: answer.response_metadata[key] for key in ("moa", "model_name")}
    return AIMessageChunk(
        content="",
        id=answer.id,
        usage_metadata=answer.usage_metadata,
        response_metadata=told,
        chunk_position="last",
    )
