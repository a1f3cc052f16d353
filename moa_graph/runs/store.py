"""The store of runs: its database, and the metadata of threads."""

import os
import re
import shlex
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    aclosing,
    asynccontextmanager,
)
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import StateSnapshot
from platformdirs import user_data_path

from moa_graph.atomic_files import restrict_to_owner
from moa_graph.config.model import MoAConfig
from moa_graph.errors import MoAError
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.graph.state import RETRY, MoAState, Proposal, merge_writes
from moa_graph.graph.turns import Turn, read_turn, unanswered_messages
from moa_graph.models.providers import provider_of
from moa_graph.prompting.finish_reasons import name_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.redaction import redacted_message
from moa_graph.runs.damage import DamagedThreadError, name_damaged_thread
from moa_graph.runs.failover_saver import IN_MEMORY, FailoverSqliteSaver
from moa_graph.runs.lock_files import hold_lock_file
from moa_graph.runs.record import (
    AGGREGATOR_FAILURE,
    current_turn_proposals,
    first_question,
    last_question,
)
from moa_graph.runs.stored_configs import CONFIG_KEY, load_stored_config
from moa_graph.runs.stored_errors import (
    CANCELLED_PREFIX,
    read_failed_calls,
    read_node_errors,
)
from moa_graph.runs.titles import read_titles

Checkpointer = BaseCheckpointSaver[Any]

RUN_BEGAN_KEY = "moa_run_began"  # metadata key of each checkpoint: start of its run, in seconds
UUID_EPOCH = datetime(1582, 10, 15, tzinfo=UTC)  # epoch of UUIDs
ERROR_CHANNEL = "__error__"  # LangGraph's channel for errors of nodes

_PRIVATE_NAMES = r"(?:password|key|token|secret)"
_BATCH_THREAD_ID = re.compile(
    r"(.+-[0-9a-f]{8})-\d+-[0-9a-f]{8}"
)  # names of `batch.input.thread_id_for`


class StoreError(MoAError):
    """The store is not usable; the message explains it completely."""


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


@dataclass(frozen=True)
class RunStore:
    """An open checkpoint database."""

    checkpointer: Checkpointer
    try_lock: Callable[[str], AbstractAsyncContextManager[bool]]
    """Locks a name for this process; yields whether no other process holds it."""

    @property
    def keeps_runs(self) -> bool:
        """Whether the data persist after this process."""
        return not getattr(self.checkpointer, "is_in_memory", False)

    @asynccontextmanager
    async def lock_thread(self, thread: str) -> AsyncIterator[None]:
        """Lock a thread for this process; a thread of `moa batch` is locked with its batch.

        Raises:
            StoreError: If another process holds it.
        """
        batch = _BATCH_THREAD_ID.fullmatch(thread)
        async with AsyncExitStack() as locks:
            for name in (batch[1], thread) if batch else (thread,):
                if not await locks.enter_async_context(self.try_lock(name)):
                    raise StoreError(f"thread {thread} is being run by another process")
            yield


@asynccontextmanager
async def open_run_store(
    db: str | None,
    *,
    create: bool = True,
    on_write_failure: Callable[[str], None] | None = None,
    on_busy: Callable[[str], None] | None = None,
) -> AsyncIterator[RunStore]:
    """Open the checkpoint database.

    Args:
        db: Path of an SQLite file, or address of a PostgreSQL database.
        create: Whether to create a missing file; a command that only reads may have a misspelt
            path.
        on_write_failure: Called once with the cause if an SQLite file can no longer be written. The
            run continues in memory. Without it, a failed write raises.
        on_busy: Called once with the cause if a run waits: for another process that holds an SQLite
            file, or for PostgreSQL.

    Raises:
        StoreError: If the database is not usable.
    """
    opened = (
        _open_postgres(str(db), on_busy)
        if is_postgres(db)
        else _open_sqlite(db, create=create, on_write_failure=on_write_failure, on_busy=on_busy)
    )
    run_error: OSError | None = None
    try:
        async with opened as store:
            try:
                yield store
            except OSError as error:  # an error of a model's connection, or of another file
                run_error = error
                raise
    except (sqlite3.Error, OSError) as error:
        if error is run_error:
            raise
        raise _unusable_database_error(error, db) from error


def _unusable_database_error(error: Exception, db: str | None) -> StoreError:
    db = str(db) if is_postgres(db) else str(sqlite_file(db).absolute())
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return StoreError(f"cannot use the database {redact_password(db)}: {reason}")


def sqlite_path(db: str | None) -> Path:
    """Return the path of a database, by default of the default one, and create its folder."""
    return _create_parent_folder(sqlite_file(db))


def is_postgres(db: str | None) -> bool:
    """Return whether an address is that of a PostgreSQL database."""
    return bool(db) and str(db).startswith(("postgresql://", "postgres://"))


@asynccontextmanager
async def _open_sqlite(
    db: str | None,
    *,
    create: bool,
    on_write_failure: Callable[[str], None] | None,
    on_busy: Callable[[str], None] | None,
) -> AsyncIterator[RunStore]:
    if db and not create and not sqlite_file(db).exists():
        raise StoreError(f"there is no database {sqlite_file(db)}; `moa ask` creates one")
    path = sqlite_path(db)

    @asynccontextmanager
    async def try_lock(name: str) -> AsyncIterator[bool]:
        file = sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        with ExitStack() as stack:
            try:
                lock_file = _create_parent_folder(path.with_name(f"{path.name}.locks") / file)
                is_held = stack.enter_context(hold_lock_file(lock_file))
            except OSError as error:
                if on_write_failure is None:
                    raise _unusable_database_error(error, str(path)) from error
                is_held = True  # a folder without lock files has no other writers
            yield is_held

    restrict_to_owner(path)
    async with FailoverSqliteSaver.open_path(str(path)) as saver:
        saver.on_write_failure, saver.on_busy = on_write_failure, on_busy
        await saver.setup()  # enables write-ahead logging
        # A kill loses nothing; a loss of power may lose the last moments, without corruption.
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield RunStore(saver, try_lock)


@asynccontextmanager
async def open_memory_store() -> AsyncIterator[RunStore]:
    """Open a store in memory."""

    @asynccontextmanager
    async def try_lock(_: str) -> AsyncIterator[bool]:
        yield True

    async with FailoverSqliteSaver.open_path(IN_MEMORY) as saver:
        await saver.setup()
        yield RunStore(saver, try_lock)


@asynccontextmanager
async def _open_postgres(db: str, on_busy: Callable[[str], None] | None) -> AsyncIterator[RunStore]:
    try:
        from psycopg import AsyncConnection, Error

        from moa_graph.runs.postgres_connection import (
            close_if_silent,
            limit_statements,
            with_timeouts,
        )
        from moa_graph.runs.postgres_saver import InsertionOrderPostgresSaver
    except ImportError:
        raise StoreError("PostgreSQL needs a package: pip install 'moa_graph[postgres]'") from None

    on_wait = _call_once(on_busy) if on_busy else None

    @asynccontextmanager
    async def try_lock(name: str) -> AsyncIterator[bool]:
        # A separate connection, so that the lock ends with this process in any case.
        async with await AsyncConnection.connect(address, autocommit=True) as connection:
            await limit_statements(connection, on_wait)
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            with close_if_silent(connection, on_wait=on_wait):
                row = await (await connection.execute(query, (name,))).fetchone()
            yield bool(row and row[0])

    try:
        address = with_timeouts(db)
        async with InsertionOrderPostgresSaver.from_conn_string(address) as opened:
            saver = cast("InsertionOrderPostgresSaver", opened)
            saver.on_wait = on_wait
            await saver.setup()
            yield RunStore(saver, try_lock)
    except Error as error:
        raise StoreError(f"cannot use the database: {redacted_message(error)}") from None


def _call_once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that forwards only its first call."""
    told: list[str] = []

    def tell_once(text: str) -> None:
        if not told:
            told.append(text)
            tell(text)

    return tell_once


def sqlite_file(db: str | None) -> Path:
    """Return the path of a database, or of the default one.

    Raises:
        StoreError: If there is no home folder.
    """
    own = Path(db) if db and not is_postgres(db) else None
    try:
        path = own or user_data_path("moa_graph", appauthor=False) / "runs.sqlite"
        return path.expanduser()
    except RuntimeError as error:  # the home folder is unknown
        raise StoreError("cannot use the database: there is no home folder; set HOME") from error


def _create_parent_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def format_resume_command(thread: str, db: str | None) -> str:
    """Return the command that continues a thread, to be pasted into a shell."""
    where = ["--db", redact_password(db)] if db and db != os.environ.get("MOA_DB") else []
    return shlex.join(["moa", "resume", thread, *where])


def redact_password(db: str) -> str:
    """Remove the password from a database's address."""
    db = re.sub(r"^([^:]*+://[^/@:]*):.*(?=@)", r"\1", db)
    return re.sub(rf"(?i)([?&][\w-]*{_PRIVATE_NAMES}=)[^&]*", r"\1***", db)


def build_run_config(thread: str, mixture: MoAConfig) -> RunnableConfig:
    """Return the config of a run that starts now on a thread.

    Its checkpoints store the mixture, for resuming, and the start of the run.
    """
    stored_config = mixture.model_dump_json(exclude_defaults=True)
    metadata = {CONFIG_KEY: stored_config, RUN_BEGAN_KEY: time()}
    return {"configurable": {"thread_id": thread}, "metadata": metadata}


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


async def read_newest_turn(
    graph: CompiledMoAGraph, config: RunnableConfig, snapshot: StateSnapshot
) -> Turn:
    """Return the newest turn of a thread, including earlier unanswered questions.

    Args:
        graph: The compiled mixture.
        config: Config with the thread, and the checkpoint if it is not the newest.
        snapshot: Result of `graph.aget_state(config)`.
    """
    turn = read_turn(snapshot)
    if turn.status != "unanswered" or not unanswered_messages(turn.history):
        return turn
    return read_turn(snapshot, [each async for each in graph.aget_state_history(config)])


def is_database_error(error: BaseException) -> bool:
    """Return whether an error comes from the checkpoint database and not the run."""
    return isinstance(error, sqlite3.Error) or type(error).__module__.startswith("psycopg")


async def read_current_values(graph: CompiledMoAGraph, config: RunnableConfig) -> dict[str, Any]:
    """Return the state of a thread, as `current_turn_values` does."""
    return current_turn_values(graph, await graph.aget_state(config))


def current_turn_values(graph: CompiledMoAGraph, snapshot: StateSnapshot) -> dict[str, Any]:
    """Return a state with the proposals of its present turn, in configured order.

    It includes pending proposals of an incomplete layer, which the state will contain only when the
    layer is complete. `AGGREGATOR_FAILURE` contains the failure of the aggregator, if there is one.
    """
    values = dict(snapshot.values)
    if START in snapshot.next:  # these proposals belong to an earlier question
        values["proposals"] = {}
    results = [(task.result or {}).get("proposals", {}) for task in snapshot.tasks]
    proposals = merge_writes(current_turn_proposals(values), results)
    values["proposals"] = {node: proposals[node] for node in graph.nodes if node in proposals}
    if error := read_node_errors(snapshot).get(AGGREGATOR):
        model = (graph.builder.nodes[AGGREGATOR].metadata or {}).get("model", "")
        failed_calls = read_failed_calls(snapshot)
        values[AGGREGATOR_FAILURE] = {"model": model, "error": error, "failed_calls": failed_calls}
    return values


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
