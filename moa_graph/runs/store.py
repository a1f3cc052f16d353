"""Where runs are kept, and what is kept with them."""

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
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.constants import START
from langgraph.graph import StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import StateSnapshot
from platformdirs import user_data_path
from pydantic import ValidationError

from moa_graph.atomic_files import restrict_to_owner
from moa_graph.config.model import STORED, MoAConfig
from moa_graph.errors import MoAError
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.graph.state import MoAState, Proposal, merge_writes
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
from moa_graph.runs.stored_errors import (
    CANCELLED_PREFIX,
    read_failed_calls,
    read_node_errors,
)

Checkpointer = BaseCheckpointSaver[Any]

CONFIG_KEY = "moa_config"  # in the metadata of each checkpoint
UUID_EPOCH = datetime(1582, 10, 15, tzinfo=UTC)  # from where a UUID counts
ERROR_CHANNEL = "__error__"  # LangGraph's channel for what a node raised

_PRIVATE_NAMES = r"(?:password|key|token|secret)"
_BATCH_THREAD_ID = re.compile(
    r"(.+-[0-9a-f]{8})-\d+-[0-9a-f]{8}"
)  # as `batch.input.thread_id_for` names it


class StoreError(MoAError):
    """What is kept cannot be used; the text explains it in full."""


@dataclass(frozen=True)
class StoredThread:
    """A thread as its last checkpoint shows it."""

    id: str
    updated_at: datetime
    messages: list[AnyMessage]
    config: MoAConfig | None
    """The mixture that was asked; `None` if another program wrote the thread, or a version of
    this one whose configuration cannot be read."""
    failed_nodes: Sequence[str]
    """Nodes whose last question has no answer from them."""
    stop_cause: Literal["failed", "interrupted"] | None
    """What ended its last run, an error or somebody; `None` if it came to its end, goes on, or
    was killed."""
    is_damaged: bool = False
    """Whether what is stored of it cannot be read."""

    @property
    def status_text(self) -> str:
        """How its last question fared, in words."""
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
        """Say that the last question is answered, and how where the answer is not whole."""
        last = self.messages[-1]
        reason = read_finish_reason(last) if isinstance(last, AIMessage) else None
        ending = name_ending(reason)
        word = "quoted" if self._has_no_language_model else "answered"
        return f"{word}, {ending}" if ending else word

    @property
    def _has_no_language_model(self) -> bool:
        """Whether its mixture only quotes, as that of `offline:` agents does."""
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
        """The first question, without attachments."""
        return first_question(self.messages)


@dataclass(frozen=True)
class RunStore:
    """An open checkpoint database."""

    checkpointer: Checkpointer
    try_lock: Callable[[str], AbstractAsyncContextManager[bool]]
    """Takes a name for this process alone; gives whether no other had it."""

    @property
    def keeps_runs(self) -> bool:
        """Whether what is stored is there when this process has ended."""
        return not getattr(self.checkpointer, "is_in_memory", False)

    @asynccontextmanager
    async def lock_thread(self, thread: str) -> AsyncIterator[None]:
        """Hold a thread for this process alone; one of `moa batch` together with its batch.

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
        create: Whether a file that was named and is missing is made; who only reads may have
            misspelt it.
        on_write_failure: Is told once that an SQLite file can no longer be written, and why; the
            run goes on in memory. Without it, a failed write raises.
        on_busy: Is told once what a run waits for: another process that holds an SQLite file, or an
            answer of PostgreSQL.

    Raises:
        StoreError: If it cannot be used.
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
            except OSError as error:  # of a connection to a model, or of another file
                run_error = error
                raise
    except (sqlite3.Error, OSError) as error:
        if error is run_error:
            raise
        raise _unusable_database_error(error, db or "runs.sqlite") from error


def _unusable_database_error(error: Exception, db: str) -> StoreError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return StoreError(f"cannot use the database {redact_password(db)}: {reason}")


def sqlite_path(db: str | None) -> Path:
    """Give the path of a database, or of the default one; its folder is there."""
    return _create_parent_folder(sqlite_file(db))


def is_postgres(db: str | None) -> bool:
    """Whether that is the address of a PostgreSQL database."""
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
        raise StoreError(f"there is no database {sqlite_file(db)}; `moa ask` makes one")
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
                is_held = True  # what cannot be locked cannot be written by anybody else
            yield is_held

    restrict_to_owner(path)
    async with FailoverSqliteSaver.open_path(str(path)) as saver:
        saver.on_write_failure, saver.on_busy = on_write_failure, on_busy
        await saver.setup()  # which turns on write-ahead logging
        # A killed process loses nothing; a power cut may lose the last moments, and breaks nothing.
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield RunStore(saver, try_lock)


@asynccontextmanager
async def open_memory_store() -> AsyncIterator[RunStore]:
    """Open a store that forgets everything when it is closed."""

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
        # A connection of its own: the lock goes with it, however this process ends.
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
    """Give a function that passes on only what it is told first."""
    told: list[str] = []

    def tell_once(text: str) -> None:
        if not told:
            told.append(text)
            tell(text)

    return tell_once


def sqlite_file(db: str | None) -> Path:
    """Give the path of a database, or of the default one.

    Raises:
        StoreError: If there is no home folder.
    """
    own = Path(db) if db and not is_postgres(db) else None
    try:
        path = own or user_data_path("moa_graph", appauthor=False) / "runs.sqlite"
        return path.expanduser()
    except RuntimeError as error:  # nobody knows where that is
        raise StoreError("cannot use the database: there is no home folder; set HOME") from error


def _create_parent_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def format_resume_command(thread: str, db: str | None) -> str:
    """Give the command that goes on with a thread, fit to be pasted."""
    where = ["--db", redact_password(db)] if db and db != os.environ.get("MOA_DB") else []
    return shlex.join(["moa", "resume", thread, *where])


def redact_password(db: str) -> str:
    """Leave the password out of a database's address."""
    db = re.sub(r"^([^:]*+://[^/@:]*):.*(?=@)", r"\1", db)
    return re.sub(rf"(?i)([?&][\w-]*{_PRIVATE_NAMES}=)[^&]*", r"\1***", db)


def build_run_config(thread: str, mixture: MoAConfig) -> RunnableConfig:
    """Address a thread, and keep the mixture with its checkpoints so that it can be resumed."""
    stored_config = mixture.model_dump_json(exclude_defaults=True)
    return {"configurable": {"thread_id": thread}, "metadata": {CONFIG_KEY: stored_config}}


async def read_threads(
    saver: Checkpointer,
    limit: int | None = None,
    *,
    only: Callable[[StoredThread], bool] = lambda _: True,
) -> list[StoredThread]:
    """Read the threads, newest first, until there are as many as asked for."""
    found: list[CheckpointTuple | StoredThread] = []
    # What is not read to its end is closed before the database is.
    async with aclosing(_newest_checkpoints(saver)) as checkpoints:
        async for checkpoint in checkpoints:
            if only(_glance_at_thread(checkpoint)):
                found.append(checkpoint)
            if len(found) == limit:
                break
    return [await _load_thread_or_damage(saver, each) for each in found]


async def _newest_checkpoints(
    saver: Checkpointer,
) -> AsyncGenerator[CheckpointTuple | StoredThread]:
    """Give the last checkpoint of each thread, newest first; a damaged thread without it."""
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
    """Read what stands in a checkpoint itself."""
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
    """Read a thread whole, or say that it is damaged: the others can be listed."""
    thread = _glance_at_thread(checkpoint)
    if thread.is_damaged or isinstance(checkpoint, StoredThread):
        return thread
    try:
        return await _load_thread(saver, checkpoint)
    except DamagedThreadError:
        return _damaged_thread(thread.id, checkpoint.config["configurable"]["checkpoint_id"])


def _damaged_thread(thread: str, checkpoint_id: str) -> StoredThread:
    """Give what is known of a thread that cannot be read: its name, and when it was written."""
    return StoredThread(thread, time_of_checkpoint(checkpoint_id), [], None, (), None, True)  # noqa: FBT003


def time_of_checkpoint(checkpoint_id: str) -> datetime:
    """Tell when a checkpoint was written: its name is a UUID that begins with the time."""
    digits = checkpoint_id.replace("-", "")
    return UUID_EPOCH + timedelta(microseconds=int(digits[:12] + digits[13:16], 16) // 10)


async def read_thread(saver: Checkpointer, name: str) -> StoredThread | None:
    """Read one thread, if there is such a thread."""
    checkpoint = await saver.aget_tuple({"configurable": {"thread_id": name}})
    return await _load_thread(saver, checkpoint) if checkpoint else None


async def find_thread(saver: Checkpointer, name: str) -> StoredThread:
    """Read one thread.

    Raises:
        StoreError: If there is no such thread.
    """
    if thread := await read_thread(saver, name):
        return thread
    raise StoreError(f"no thread {name!r}; `moa threads` lists them")


def describe_missing_question(thread: StoredThread) -> str:
    """Say that there is nothing to show of a thread."""
    if thread.messages:
        return f"thread {thread.id!r} was stopped before its question was taken in"
    return f"thread {thread.id!r} has no question"


def require_config(thread: StoredThread) -> MoAConfig:
    """Give the mixture of a thread.

    Raises:
        StoreError: If it is not known.
    """
    if thread.config is None:
        raise StoreError(
            f"thread {thread.id!r} was written by another program or version: go on with it there"
        )
    return thread.config


async def read_newest_turn(
    graph: CompiledMoAGraph, config: RunnableConfig, snapshot: StateSnapshot
) -> Turn:
    """Read the newest turn of a thread, with questions before it that were never answered.

    Args:
        graph: The compiled mixture.
        config: Names the thread, and the checkpoint if it is not the newest.
        snapshot: What `graph.aget_state(config)` returned.
    """
    turn = read_turn(snapshot)
    if turn.status != "unanswered" or not unanswered_messages(turn.history):
        return turn
    return read_turn(snapshot, [each async for each in graph.aget_state_history(config)])


def is_database_error(error: BaseException) -> bool:
    """Whether the checkpoint database failed, not the run."""
    return isinstance(error, sqlite3.Error) or type(error).__module__.startswith("psycopg")


async def read_current_values(graph: CompiledMoAGraph, config: RunnableConfig) -> dict[str, Any]:
    """Read the state of a thread, as `current_turn_values` gives it."""
    return current_turn_values(graph, await graph.aget_state(config))


def current_turn_values(graph: CompiledMoAGraph, snapshot: StateSnapshot) -> dict[str, Any]:
    """Give a state with the proposals of its present turn, in configured order.

    Those count too that were stored in the middle of a layer, and that the state will only take
    in when the layer is over. `AGGREGATOR_FAILURE` says how the aggregator failed, if it did.
    """
    values = dict(snapshot.values)
    if START in snapshot.next:  # the question of these proposals is not the last one
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
    """Read a thread whole; the account of an answer says who failed, without the proposals."""
    thread = _thread_from_checkpoint(checkpoint)
    if not thread.messages:
        return thread
    summary = read_run_summary(thread.messages[-1]) if thread.is_finished else None
    if summary:
        return replace(thread, failed_nodes=summary["failed"])
    values = {"messages": thread.messages, "proposals": await _read_proposals(saver, checkpoint)}
    failed = [node for node, p in current_turn_proposals(values).items() if p["error"]]
    return replace(thread, failed_nodes=failed)


async def _read_proposals(saver: Checkpointer, checkpoint: CheckpointTuple) -> dict[str, Proposal]:
    """Read the proposals of a checkpoint, with those that were stored since."""
    snapshot = await _state_reader().copy({"checkpointer": saver}).aget_state(checkpoint.config)
    writes = checkpoint.pending_writes or ()
    new = [value for _, channel, value in writes if channel == "proposals"]
    return merge_writes(snapshot.values.get("proposals", {}), new)


@cache
def _state_reader() -> CompiledMoAGraph:
    """A graph that reads the state of any mixture: the mixture itself may not be known."""
    builder = StateGraph(MoAState)
    builder.add_node("reader", lambda _: {})
    return builder.set_entry_point("reader").compile()


def _thread_from_checkpoint(checkpoint: CheckpointTuple) -> StoredThread:
    """Read what stands in the checkpoint itself."""
    thread = checkpoint.config["configurable"]["thread_id"]
    with name_damaged_thread(thread, "the database"):
        return _parse_checkpoint(checkpoint)


def _parse_checkpoint(checkpoint: CheckpointTuple) -> StoredThread:
    writes = checkpoint.pending_writes or ()
    return StoredThread(
        id=checkpoint.config["configurable"]["thread_id"],
        updated_at=datetime.fromisoformat(checkpoint.checkpoint["ts"]),
        messages=_messages_with_input(checkpoint.checkpoint["channel_values"]),
        config=_load_stored_config(dict(checkpoint.metadata).get(CONFIG_KEY)),
        failed_nodes=(),
        stop_cause=_find_stop_cause(
            [str(value) for _, channel, value in writes if channel == ERROR_CHANNEL]
        ),
    )


def _messages_with_input(values: Mapping[str, Any]) -> list[AnyMessage]:
    """Give the messages of a checkpoint, with an input that has not yet joined them."""
    messages: list[AnyMessage] = values.get("messages", [])
    pending_input = values.get(START)  # another program's may be of any kind
    pending_messages = pending_input.get("messages") if isinstance(pending_input, Mapping) else None
    return add_messages(messages, pending_messages) if pending_messages else messages  # type: ignore[arg-type, return-value]


def _find_stop_cause(errors: Sequence[str]) -> Literal["failed", "interrupted"] | None:
    if not errors:
        return None
    return "interrupted" if all(each.startswith(CANCELLED_PREFIX) for each in errors) else "failed"


def _load_stored_config(stored: Any) -> MoAConfig | None:
    try:
        return MoAConfig.model_validate_json(stored, context=STORED) if stored else None
    except ValidationError:
        return None
