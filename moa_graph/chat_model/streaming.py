"""Convert the stream of a mixture's run into chunks of a chat model."""

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
from moa_graph.chat_model.local_proposals import ProposalSet
from moa_graph.chat_model.proposal_source import ProposalSource
from moa_graph.graph.aggregator_graph import to_reused
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.depth import reuse_decisions
from moa_graph.graph.error_causes import error_with_causes
from moa_graph.graph.failed_calls import collect_writer_errors
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.proposer import AGENT_METADATA_KEY
from moa_graph.graph.writer_failures import AggregatorError
from moa_graph.prompting.thoughts import ThoughtFilter
from moa_graph.redaction import redacted_message
from moa_graph.sync_async import Step

Emitted = TypeVar("Emitted")

_SINGLE_CALL_METADATA = {"model_name", "token_usage", "usage"}  # name as in providers' packages


class BrokenStreamError(AggregatorError):
    """A streamed answer broke off after chunks of it had been delivered."""


def run_graph(
    find_graph: Callable[[ProposalSource], CompiledMoAGraph],
    messages: Sequence[BaseMessage],
    callbacks: BaseCallbackManager | None,
    caller: CallerScope,
    source: ProposalSource,
    *,
    async_api: bool,
    emit: Callable[[AIMessageChunk], Emitted] | None = None,
    single_writer: bool = False,
) -> Generator[Step | Emitted, Any, AIMessage]:
    """Run a mixture outside the graph that may be calling it; closing the flow cancels its calls.

    A flow that yields from this one must pass a `GeneratorExit` on itself. `yield from` closes this
    flow instead, and the step that closes the run is lost.

    Args:
        find_graph: Returns the graph to run: of the whole mixture, or of its aggregator alone.
        messages: The conversation; it is not changed.
        callbacks: Callbacks of the calls.
        caller: Config, context and store of the caller for the agents.
        source: Source of the proposals; it is closed at the end.
        async_api: Whether the steps are awaited.
        emit: Returns what to yield for a chunk of the answer: a step, or a value of the stream.
            The last chunk has the usage and the summary. By default nothing is streamed.
        single_writer: Whether chunks of another model may not follow the first ones.

    Returns:
        The answer.

    Raises:
        QuorumError, AggregatorError: As the graph.
        BrokenStreamError: If a stream broke off after chunks had been delivered.
    """
    with closing(source):
        yield from source.find()
        graph = find_graph(source)
        translator = StreamTranslator(graph.name, single_writer=single_writer)
        modes = ["messages", "updates"] if emit else ["updates"]
        state = _to_input(messages, source.proposal_set)
        events = _open_events(graph, state, callbacks, caller, modes, async_api=async_api)
        try:
            arguments = (events, translator.writer_errors)
            while event := (yield Step(_next_event, _anext_event, arguments)):
                source.observe_event(*event)
                for chunk in translator.translate_event(*event):
                    if emit:
                        yield emit(chunk)
        except Exception as error:
            yield from source.record_failure(error)
            translator.raise_if_broken_off(error)
            raise
        finally:
            yield Step(_close_events, _aclose_events, (events,))
        answer = translator.require_answer(reused_proposals=source.is_reused)
        yield from source.record_answer(answer)
        for chunk in translator.last_chunks(answer):
            if emit:
                yield emit(chunk)
        return answer


class StreamTranslator:
    """Translates the events of a run into chunks of a chat model."""

    def __init__(self, name: str, *, single_writer: bool) -> None:
        self._name, self._single_writer = name, single_writer
        self._writer: str | None = None
        self._shown_writer: str | None = None  # its chunks were delivered
        self._thought_filter = ThoughtFilter()
        self._answer: AIMessage | None = None
        self.writer_errors: dict[str, Exception] = {}
        """Errors of aggregators and fallbacks that gave no answer, by node."""

    def translate_event(self, mode: str, payload: Any) -> Iterator[AIMessageChunk]:
        """Translate an event of the graph into chunks of the answer."""
        if mode == "messages":
            chunk, metadata = payload
            if isinstance(chunk, AIMessageChunk):
                self._start_writer(metadata[AGENT_METADATA_KEY])
                partial = _to_partial_chunk(self._without_thoughts(chunk))
                if partial.content or partial.tool_call_chunks:
                    self._shown_writer = self._writer
                yield partial
        elif update := payload.get(AGGREGATOR):
            answer = _to_chat_model_answer(update["messages"][-1], self._name)
            causes = answer.response_metadata["moa"]["errors"]
            if self._single_writer and self._shown_writer in causes:
                raise self._broken_stream_error(causes[self._shown_writer])
            self._answer = answer

    def require_answer(self, *, reused_proposals: bool) -> AIMessage:
        """Return the answer.

        Args:
            reused_proposals: Whether the proposals are those of an earlier call.

        Raises:
            RuntimeError: If there is no answer.
        """
        if self._answer is None:
            raise RuntimeError(
                f"{self._name!r} was interrupted, and a chat model cannot be resumed; expected "
                "proposers that do not interrupt (compile a graph with a checkpointer for those)"
            )
        self._answer.response_metadata["moa"]["reused_proposals"] = reused_proposals
        return self._answer

    def last_chunks(self, answer: AIMessage) -> Iterator[AIMessageChunk]:
        """Yield the end of a stream, or the whole answer if it was not streamed."""
        causes = answer.response_metadata["moa"]["errors"]
        is_whole = self._writer is None or self._writer in causes
        if not is_whole and (rest := self._thought_filter.finish()):
            yield AIMessageChunk(content=rest, id=answer.id)
        yield _to_last_chunk(answer, whole=is_whole)

    def raise_if_broken_off(self, error: Exception) -> None:
        """Raise an error that says that the answer broke off, if chunks of it were delivered.

        Raises:
            BrokenStreamError: If so.
        """
        if not isinstance(error, AggregatorError) or isinstance(error, BrokenStreamError):
            return
        cause = error.failures.get(str(self._shown_writer))
        if self._single_writer and cause:
            broken = self._broken_stream_error(cause)
            broken.failed_calls = error.failed_calls
            raise broken

    def _start_writer(self, writer: str) -> None:
        if self._single_writer and self._shown_writer not in {None, writer}:
            cause = f"its stream broke off after its first chunk, and {writer!r} cannot continue it"
            error = self.writer_errors.get(str(self._shown_writer))
            reason = f": {redacted_message(error)}" if error else ""
            raise self._broken_stream_error(f"{cause}{reason}")
        if self._writer != writer:
            self._thought_filter = ThoughtFilter()
        self._writer = writer

    def _broken_stream_error(self, cause: str) -> BrokenStreamError:
        """Create the error of a stream that broke off; it also has the type of its cause."""
        writer = str(self._shown_writer)
        causes = [self.writer_errors.get(writer)]
        return error_with_causes(causes, BrokenStreamError, {writer: cause})

    def _without_thoughts(self, chunk: AIMessageChunk) -> AIMessageChunk:
        """Remove reasoning, and text that may begin reasoning, from a text chunk."""
        if not isinstance(chunk.content, str) or not chunk.content:
            return chunk
        return chunk.model_copy(update={"content": self._thought_filter.feed(chunk.content)})


def _to_input(messages: Sequence[BaseMessage], proposal_set: ProposalSet | None) -> dict[str, Any]:
    state: dict[str, Any] = {"messages": _with_unique_ids(messages)}
    if proposal_set:
        state["proposals"] = {
            node: to_reused(each) for node, each in proposal_set.proposals.items()
        }
        state |= {"depth": reuse_decisions(proposal_set.depth)} if proposal_set.depth else {}
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
    """Open the event stream of a graph, sync or async."""
    if callbacks:
        # LangGraph's stream handlers would emit the events of this run beside the answer.
        for handler in [*callbacks.handlers]:
            if type(handler).__module__.startswith("langgraph."):
                callbacks.remove_handler(handler)
        callbacks.remove_tags([TAG_NOSTREAM])
    config: RunnableConfig = {**caller.config, "callbacks": callbacks}
    open_stream = graph.astream if async_api else graph.stream
    return open_stream(state, config, context=caller.context, stream_mode=stream_modes)


def _with_unique_ids(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return each message a unique id, because a graph's state merges messages by id."""
    distinct = dict[str, BaseMessage]()
    for message in messages:
        key = message.id if message.id and message.id not in distinct else uuid4().hex
        distinct[key] = message.model_copy(update={"id": key})
    return [*distinct.values()]


@contextmanager
def _detached_from_parent_run() -> Iterator[None]:
    """Hide the parent run, so that the graph does not run as its subgraph.

    A subgraph would write to the thread and into the stream of the parent run.
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
    """Copy an answer with the mixture's name and the usage of the whole run."""
    run_metadata = {
        k: v for k, v in message.response_metadata.items() if k not in _SINGLE_CALL_METADATA
    }
    summary = {**run_metadata["moa"]}
    metadata = {**run_metadata, "moa": summary, "model_name": name}
    update = {"usage_metadata": summary["usage"], "response_metadata": metadata}
    return message.model_copy(update=update)


def _to_partial_chunk(chunk: AIMessageChunk) -> AIMessageChunk:
    """Copy a chunk without the usage and metadata that belong to the last chunk."""
    chunk_metadata = {
        k: v for k, v in chunk.response_metadata.items() if k not in {*_SINGLE_CALL_METADATA, "moa"}
    }
    update = {"usage_metadata": None, "response_metadata": chunk_metadata, "chunk_position": None}
    return chunk.model_copy(update=update)


def _to_last_chunk(answer: AIMessage, *, whole: bool) -> AIMessageChunk:
    """Create the last chunk: the whole answer, or only its usage and metadata."""
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
