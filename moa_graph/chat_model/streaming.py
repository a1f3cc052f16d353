"""A mixture's run as a chat model tells of it: chunks of the answer, then the answer."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Sequence,
)
from contextlib import closing, contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.constants import TAG_NOSTREAM

from moa_graph.chat_model.caller import CallerScope
from moa_graph.chat_model.consulting import Consultation
from moa_graph.chat_model.kept_panels import Panel
from moa_graph.graph.aggregator import AggregatorError
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.error_causes import error_with_causes
from moa_graph.graph.failed_calls import collect_writer_errors
from moa_graph.graph.kept_proposals import to_reused
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.proposer import AGENT_METADATA_KEY
from moa_graph.prompting.thoughts import ThoughtFilter
from moa_graph.redaction import redacted_message
from moa_graph.sync_async import Step

Emitted = TypeVar("Emitted")

_SINGLE_CALL_METADATA = {"model_name", "token_usage", "usage"}  # as providers' packages call it


class BrokenStreamError(AggregatorError):
    """An answer broke off when a part of it had been given, which cannot be taken back."""


def run_graph(
    find_graph: Callable[[Consultation], CompiledMoAGraph],
    messages: Sequence[BaseMessage],
    callbacks: BaseCallbackManager | None,
    caller: CallerScope,
    consultation: Consultation,
    *,
    async_api: bool,
    emit: Callable[[AIMessageChunk], Emitted] | None = None,
    single_writer: bool = False,
) -> Generator[Step | Emitted, Any, AIMessage]:
    """Run a mixture, apart from the graph that it may be called in; closed, it cancels the calls.

    A flow that yields from it must hand a `GeneratorExit` on: `yield from` closes it instead, and
    the step that closes the run is lost.

    Args:
        find_graph: Gives the graph to run: of the mixture, or of its aggregator alone.
        messages: The conversation; left as it is.
        callbacks: Who is told of the calls.
        caller: What the agents are given of the caller's.
        consultation: How the call comes by its proposals; it is closed in the end.
        async_api: Whether the steps are awaited.
        emit: Gives what is yielded for a chunk of the answer: a step, or a value of the stream.
            The last chunk has the usage and the account. By default nothing is streamed.
        single_writer: Whether no chunk may be followed by those of another model.

    Returns:
        The answer.

    Raises:
        QuorumError, AggregatorError: As the graph.
        BrokenStreamError: If a stream broke off that cannot be taken back.
    """
    with closing(consultation):
        yield from consultation.find()
        graph = find_graph(consultation)
        translator = StreamTranslator(graph.name, single_writer=single_writer)
        modes = ["messages", "updates"] if emit else ["updates"]
        state = _to_input(messages, consultation.panel)
        events = _open_events(graph, state, callbacks, caller, modes, async_api=async_api)
        try:
            arguments = (events, translator.writer_errors)
            while event := (yield Step(_next_event, _anext_event, arguments)):
                consultation.observe_event(*event)
                for chunk in translator.translate_event(*event):
                    if emit:
                        yield emit(chunk)
        except Exception:
            yield from consultation.record_failure()
            raise
        finally:
            yield Step(_close_events, _aclose_events, (events,))
        answer = translator.require_answer(reused_proposals=consultation.is_reused)
        yield from consultation.record_answer(answer)
        for chunk in translator.last_chunks(answer):
            if emit:
                yield emit(chunk)
        return answer


class StreamTranslator:
    """Tells of an answer what a chat model has to tell."""

    def __init__(self, name: str, *, single_writer: bool) -> None:
        self._name, self._single_writer = name, single_writer
        self._writer: str | None = None
        self._shown_writer: str | None = None  # of whom a caller has something already
        self._thought_filter = ThoughtFilter()
        self._answer: AIMessage | None = None
        self.writer_errors: dict[str, Exception] = {}
        """What each aggregator raised that gave no answer."""

    def translate_event(self, mode: str, payload: Any) -> Iterator[AIMessageChunk]:
        """Turn an event of the graph into chunks of the answer."""
        if mode == "messages":
            chunk, metadata = payload
            if isinstance(chunk, AIMessageChunk):
                self._start_writer(metadata[AGENT_METADATA_KEY])
                shown = _to_partial_chunk(self._without_thoughts(chunk))
                if shown.content or shown.tool_call_chunks:
                    self._shown_writer = self._writer
                yield shown
        elif update := payload.get(AGGREGATOR):
            answer = _to_chat_model_answer(update["messages"][-1], self._name)
            causes = answer.response_metadata["moa"]["errors"]
            if self._single_writer and self._shown_writer in causes:
                raise self._broken_stream_error(causes[self._shown_writer])
            self._answer = answer

    def require_answer(self, *, reused_proposals: bool) -> AIMessage:
        """Give the answer.

        Args:
            reused_proposals: Whether its proposals are those of an earlier call.

        Raises:
            RuntimeError: If there is none.
        """
        if self._answer is None:
            raise RuntimeError(
                f"{self._name!r} stopped for a human, which a chat model cannot; expected "
                "proposers that do not interrupt (compile a graph with a checkpointer for those)"
            )
        self._answer.response_metadata["moa"]["reused_proposals"] = reused_proposals
        return self._answer

    def last_chunks(self, answer: AIMessage) -> Iterator[AIMessageChunk]:
        """Give the end of a stream, or all of an answer that was not streamed."""
        causes = answer.response_metadata["moa"]["errors"]
        is_whole = self._writer is None or self._writer in causes
        if not is_whole and (rest := self._thought_filter.finish()):
            yield AIMessageChunk(content=rest, id=answer.id)
        yield _to_last_chunk(answer, whole=is_whole)

    def _start_writer(self, writer: str) -> None:
        if self._single_writer and self._shown_writer not in {None, writer}:
            cause = f"its stream broke off after it had begun, and {writer!r} cannot go on with it"
            error = self.writer_errors.get(str(self._shown_writer))
            reason = f": {redacted_message(error)}" if error else ""
            raise self._broken_stream_error(f"{cause}{reason}")
        if self._writer != writer:
            self._thought_filter = ThoughtFilter()
        self._writer = writer

    def _broken_stream_error(self, cause: str) -> BrokenStreamError:
        """Make the error of a stream that cannot be taken back; it has the type of its cause."""
        writer = str(self._shown_writer)
        causes = [self.writer_errors.get(writer)]
        return error_with_causes(causes, BrokenStreamError, {writer: cause})

    def _without_thoughts(self, chunk: AIMessageChunk) -> AIMessageChunk:
        """Leave out of a chunk of text what is a thought, or may become one."""
        if not isinstance(chunk.content, str) or not chunk.content:
            return chunk
        return chunk.model_copy(update={"content": self._thought_filter.feed(chunk.content)})


def _to_input(messages: Sequence[BaseMessage], kept: Panel | None) -> dict[str, Any]:
    state: dict[str, Any] = {"messages": _with_unique_ids(messages)}
    if kept:
        state["proposals"] = {node: to_reused(each) for node, each in kept.proposals.items()}
    return state


def _open_events(
    graph: CompiledMoAGraph,
    state: dict[str, Any],
    callbacks: BaseCallbackManager | None,
    caller: CallerScope,
    stream_modes: Any,
    *,
    async_api: bool,
) -> Any:
    """Begin the stream of a graph, sync or async."""
    if callbacks:
        # LangGraph's own handlers would show what happens inside beside the answer itself.
        for handler in [*callbacks.handlers]:
            if type(handler).__module__.startswith("langgraph."):
                callbacks.remove_handler(handler)
        callbacks.remove_tags([TAG_NOSTREAM])
    config: RunnableConfig = {**caller.config, "callbacks": callbacks}
    open_stream = graph.astream if async_api else graph.stream
    return open_stream(state, config, context=caller.context, stream_mode=stream_modes)


def _with_unique_ids(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Give each message an id of its own, by which a graph's state tells them apart."""
    distinct = dict[str, BaseMessage]()
    for message in messages:
        key = message.id if message.id and message.id not in distinct else uuid4().hex
        distinct[key] = message.model_copy(update={"id": key})
    return [*distinct.values()]


@contextmanager
def _detached_from_parent_run() -> Iterator[None]:
    """Hide the run that a graph is called in, so that it does not take itself for a part of it.

    It would write to that run's thread, and into its stream.
    """
    token = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _next_event(events: Iterator[Any], errors: dict[str, Exception]) -> Any:
    with _detached_from_parent_run(), collect_writer_errors(errors):
        return next(events, None)


async def _anext_event(events: AsyncIterator[Any], errors: dict[str, Exception]) -> Any:
    with _detached_from_parent_run(), collect_writer_errors(errors):
        return await anext(events, None)


def _close_events(events: Generator[Any]) -> None:
    events.close()


async def _aclose_events(events: AsyncGenerator[Any]) -> None:
    await events.aclose()


def _to_chat_model_answer(message: AIMessage, name: str) -> AIMessage:
    """Copy an answer under the mixture's name, with the usage of the whole run alone."""
    run_metadata = {
        k: v for k, v in message.response_metadata.items() if k not in _SINGLE_CALL_METADATA
    }
    summary = {**run_metadata["moa"]}
    metadata = {**run_metadata, "moa": summary, "model_name": name}
    update = {"usage_metadata": summary["usage"], "response_metadata": metadata}
    return message.model_copy(update=update)


def _to_partial_chunk(chunk: AIMessageChunk) -> AIMessageChunk:
    """Copy a chunk without what is told of the whole run, at its end."""
    chunk_metadata = {
        k: v for k, v in chunk.response_metadata.items() if k not in {*_SINGLE_CALL_METADATA, "moa"}
    }
    update = {"usage_metadata": None, "response_metadata": chunk_metadata, "chunk_position": None}
    return chunk.model_copy(update=update)


def _to_last_chunk(answer: AIMessage, *, whole: bool) -> AIMessageChunk:
    """Make the last chunk: of the whole answer, or of what is told at its end."""
    if whole:
        fields = answer.model_dump(exclude={"type"})
        return AIMessageChunk(**fields, chunk_position="last")
    summary_metadata = {key: answer.response_metadata[key] for key in ("moa", "model_name")}
    return AIMessageChunk(
        content="",
        id=answer.id,
        usage_metadata=answer.usage_metadata,
        response_metadata=summary_metadata,
        chunk_position="last",
    )
