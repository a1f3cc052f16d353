"""Threads of the store: their questions, mixtures and outcomes."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.graph.message import add_messages

from moa_graph.config.model import MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.graph.state import RETRY, MoAState, Proposal, merge_writes
from moa_graph.graph.turns import unanswered_messages
from moa_graph.models.providers import provider_of
from moa_graph.prompting.finish_reasons import name_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.runs.damage import DamagedThreadError, name_damaged_thread
from moa_graph.runs.record import current_turn_proposals, first_question, last_question
from moa_graph.runs.store import Checkpointer, StoreError
from moa_graph.runs.stored_configs import CONFIG_KEY, load_stored_config
from moa_graph.runs.stored_errors import CANCELLED_PREFIX
from moa_graph.runs.titles import read_titles

UUID_EPOCH = datetime(1582, 10, 15, tzinfo=UTC)  # epoch of UUIDs
ERROR_CHANNEL = "__error__"  # LangGraph's channel for errors of nodes


@dataclass(frozen=True)
class StoredThread:
    """A thread, read from its last checkpoint."""

    id: str
    updated_at: datetime
    messages: list[AnyMessage]
    config: MoAConfig | None
    """The mixture; `None` if the thread belongs to another program, or its configuration cannot be
    read."""
    failed_nodes: Sequence[str]
    """Nodes that have not answered the last question."""
    stop_cause: Literal["failed", "interrupted"] | None
    """Why its last run stopped: an error or an interruption; `None` if it completed, is running, or
    was killed."""
    is_damaged: bool = False
    """Whether its stored data cannot be read."""
    given_title: str | None = None
    """Title set by a person."""

    @property
    def status_text(self) -> str:
        """Status of its last question in words."""
        if self.is_damaged:
            return "damaged"
        if self.is_finished and not self.messages:
            return "empty"
        ended = self._answered_text if self.is_finished else self.stop_cause or "unfinished"
        return (
            f"{ended}, {len(self.failed_nodes)} failed"
            if self.failed_nodes and ended != "failed"
            else ended
        )

    @property
    def _answered_text(self) -> str:
        """Status of an answered question, with a note about an incomplete answer."""
        last = self.messages[-1]
        reason = read_finish_reason(last) if isinstance(last, AIMessage) else None
        ending = name_ending(reason)
        word = "quoted" if self._has_no_language_model else "answered"
        return f"{word}, {ending}" if ending else word

    @property
    def _has_no_language_model(self) -> bool:
        """Whether its mixture has only `offline:` agents, which quote."""
        labels = self.config.labels() if self.config else ()
        return bool(labels) and not any(provider_of(each).is_language_model for each in labels)

    @property
    def is_finished(self) -> bool:
        """Whether its last question is answered, or there is none."""
        return not unanswered_messages(self.messages)

    @property
    def question(self) -> str:
        """The last question, without attachments."""
        return last_question(self.messages)

    @property
    def title(self) -> str:
        """Its title, or the first question without attachments."""
        return self.given_title or first_question(self.messages)


async def read_threads(
    saver: Checkpointer,
    limit: int | None = None,
    *,
    only: Callable[[StoredThread], bool] = lambda _: True,
    max_looked_at: int | None = None,
) -> list[StoredThread]:
    """Read the threads, newest first, up to a number.

    Args:
        saver: The checkpointer.
        limit: Maximum number of threads.
        only: Filter for threads, called with the data of the newest checkpoint alone.
        max_looked_at: Maximum number of newest threads to consider.
    """
    found, looked_at = list[CheckpointTuple | StoredThread](), 0
    titles = await read_titles(saver)
    # Close an incomplete iteration before the database is closed.
    async with aclosing(_newest_checkpoints(saver)) as checkpoints:
        async for checkpoint in checkpoints:
            if only(_with_title(_glance_at_thread(checkpoint), titles)):
                found.append(checkpoint)
            looked_at += 1
            if len(found) == limit or looked_at == max_looked_at:
                break
    return [_with_title(await _load_thread_or_damage(saver, each), titles) for each in found]


def _with_title(thread: StoredThread, titles: Mapping[str, str]) -> StoredThread:
    title = titles.get(thread.id)
    return thread if title is None else replace(thread, given_title=title)


async def _newest_checkpoints(
    saver: Checkpointer,
) -> AsyncGenerator[CheckpointTuple | StoredThread]:
    """Yield the last checkpoint of each thread, newest first; `None` for a damaged thread."""
    if list_newest_ids := getattr(saver, "list_newest_ids", None):
        for thread, checkpoint_id in await list_newest_ids():
            address = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
            try:
                checkpoint = await saver.aget_tuple({"configurable": address})
            except DamagedThreadError:
                yield _damaged_thread(thread, checkpoint_id)
                continue
            if checkpoint:
                yield checkpoint
        return
    seen: set[str] = set()
    async with aclosing(cast("AsyncGenerator[CheckpointTuple]", saver.alist(None))) as checkpoints:
        async for checkpoint in checkpoints:
            configurable = checkpoint.config["configurable"]
            if not configurable.get("checkpoint_ns") and configurable["thread_id"] not in seen:
                seen.add(configurable["thread_id"])
                yield checkpoint


def _glance_at_thread(checkpoint: CheckpointTuple | StoredThread) -> StoredThread:
    """Return a thread from the data in its checkpoint alone."""
    if isinstance(checkpoint, StoredThread):
        return checkpoint
    try:
        return _thread_from_checkpoint(checkpoint)
    except DamagedThreadError:
        configurable = checkpoint.config["configurable"]
        return _damaged_thread(configurable["thread_id"], configurable["checkpoint_id"])


async def _load_thread_or_damage(
    saver: Checkpointer, checkpoint: CheckpointTuple | StoredThread
) -> StoredThread:
    """Read a complete thread; a damaged one is returned as such, so that others can be listed."""
    thread = _glance_at_thread(checkpoint)
    if thread.is_damaged or isinstance(checkpoint, StoredThread):
        return thread
    try:
        return await _load_thread(saver, checkpoint)
    except DamagedThreadError:
        return _damaged_thread(thread.id, checkpoint.config["configurable"]["checkpoint_id"])


def _damaged_thread(thread: str, checkpoint_id: str) -> StoredThread:
    """Return a damaged thread: its name and the time of its last write."""
    return StoredThread(thread, time_of_checkpoint(checkpoint_id), [], None, (), None, True)  # noqa: FBT003


def time_of_checkpoint(checkpoint_id: str) -> datetime:
    """Return the time of a checkpoint: its id is a UUID that begins with the time."""
    digits = checkpoint_id.replace("-", "")
    return UUID_EPOCH + timedelta(microseconds=int(digits[:12] + digits[13:16], 16) // 10)


async def read_thread(saver: Checkpointer, name: str) -> StoredThread | None:
    """Return a thread; `None` if it does not exist."""
    checkpoint = await saver.aget_tuple({"configurable": {"thread_id": name}})
    if not checkpoint:
        return None
    return _with_title(await _load_thread(saver, checkpoint), await read_titles(saver))


async def find_thread(saver: Checkpointer, name: str) -> StoredThread:
    """Return a thread.

    Raises:
        StoreError: If it does not exist.
    """
    if thread := await read_thread(saver, name):
        return thread
    raise StoreError(f"no thread {name!r}; `moa threads` lists them")


def describe_missing_question(thread: StoredThread) -> str:
    """Return the message for a thread without a question."""
    if thread.messages:
        return f"thread {thread.id!r} was stopped before its question was stored"
    return f"thread {thread.id!r} has no question"


def require_config(thread: StoredThread) -> MoAConfig:
    """Return the mixture of a thread.

    Raises:
        StoreError: If it is unknown.
    """
    if thread.config is None:
        raise StoreError(
            f"thread {thread.id!r} was written by another program or version: continue it there"
        )
    return thread.config


async def _load_thread(saver: Checkpointer, checkpoint: CheckpointTuple) -> StoredThread:
    """Read a complete thread; the run summary of an answer has its failures, without proposals."""
    thread = _thread_from_checkpoint(checkpoint)
    if not thread.messages:
        return thread
    summary = read_run_summary(thread.messages[-1]) if thread.is_finished else None
    if summary:
        return replace(thread, failed_nodes=summary["failed"])
    values = {"messages": thread.messages, "proposals": await _read_proposals(saver, checkpoint)}
    failed = [
        node
        for node, p in current_turn_proposals(values).items()
        if (error := p["error"]) and error != RETRY  # that is a person's wish
    ]
    return replace(thread, failed_nodes=failed)


async def _read_proposals(saver: Checkpointer, checkpoint: CheckpointTuple) -> dict[str, Proposal]:
    """Read the proposals of a checkpoint, including pending ones."""
    snapshot = await _state_reader().copy({"checkpointer": saver}).aget_state(checkpoint.config)
    writes = checkpoint.pending_writes or ()
    new = [value for _, channel, value in writes if channel == "proposals"]
    return merge_writes(snapshot.values.get("proposals", {}), new)


@cache
def _state_reader() -> CompiledMoAGraph:
    """Return a graph that reads the state of any mixture, as the mixture may be unknown."""
    builder = StateGraph(MoAState)
    builder.add_node("reader", lambda _: {})
    return builder.set_entry_point("reader").compile()


def _thread_from_checkpoint(checkpoint: CheckpointTuple) -> StoredThread:
    """Return a thread from the data of its checkpoint."""
    thread = checkpoint.config["configurable"]["thread_id"]
    with name_damaged_thread(thread, "the database"):
        return _parse_checkpoint(checkpoint)


def _parse_checkpoint(checkpoint: CheckpointTuple) -> StoredThread:
    writes = checkpoint.pending_writes or ()
    return StoredThread(
        id=checkpoint.config["configurable"]["thread_id"],
        updated_at=datetime.fromisoformat(checkpoint.checkpoint["ts"]),
        messages=_messages_with_input(checkpoint.checkpoint["channel_values"]),
        config=load_stored_config(dict(checkpoint.metadata).get(CONFIG_KEY)),
        failed_nodes=(),
        stop_cause=_find_stop_cause(
            [str(value) for _, channel, value in writes if channel == ERROR_CHANNEL]
        ),
    )


def _messages_with_input(values: Mapping[str, Any]) -> list[AnyMessage]:
    """Return the messages of a checkpoint, including an input that has not joined them yet."""
    messages: list[AnyMessage] = values.get("messages", [])
    pending_input = values.get(START)  # other programs may store any type
    pending_messages = pending_input.get("messages") if isinstance(pending_input, Mapping) else None
    return add_messages(messages, pending_messages) if pending_messages else messages  # type: ignore[arg-type, return-value]


def _find_stop_cause(errors: Sequence[str]) -> Literal["failed", "interrupted"] | None:
    if not errors:
        return None
    return "interrupted" if all(each.startswith(CANCELLED_PREFIX) for each in errors) else "failed"
