"""Where runs are kept, and what is kept with them."""

import os
import re
import shlex
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

from filelock import FileLock, Timeout
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.constants import START
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot
from platformdirs import user_data_path
from pydantic import ValidationError

from moa_graph.config.model import MoAConfig
from moa_graph.graph.state import Proposal, merge_writes
from moa_graph.graph.turns import Turn, open_messages, read_turn
from moa_graph.redaction import describe
from moa_graph.runs.record import present_proposals, question_of

Saver = BaseCheckpointSaver[Any]
CompiledMoA = CompiledStateGraph[Any, Any, Any, Any]

CONFIG_KEY = "moa_config"  # in the metadata of each checkpoint
ERROR = "__error__"  # LangGraph's channel for what a node raised
CANCELLED = "CancelledError("  # how it stores what Ctrl-C raises in a node

_OF_BATCH = re.compile(r"(.+-[0-9a-f]{8})-\d+-[0-9a-f]{8}")  # as `batch.records.thread_of` names it


class StoreError(Exception):
    """What is kept cannot be used; the text explains it in full."""


@dataclass(frozen=True)
class Thread:
    """A thread as its last checkpoint shows it."""

    id: str
    when: datetime
    messages: list[AnyMessage]
    config: MoAConfig | None
    """The mixture that was asked; `None` if another program wrote the thread, or a version of
    this one whose configuration cannot be read."""
    failed: Sequence[str]
    """Nodes whose last question has no answer from them."""
    stopped: Literal["failed", "interrupted"] | None
    """What ended its last run, an error or somebody; `None` if it came to its end, goes on, or
    was killed."""

    @property
    def state(self) -> str:
        """How its last question fared, in words."""
        if self.finished and not self.messages:
            return "empty"
        ended = "answered" if self.finished else self.stopped or "unfinished"
        return f"{ended}, {len(self.failed)} failed" if self.failed and ended != "failed" else ended

    @property
    def finished(self) -> bool:
        """Whether its last question is answered, or there is none."""
        return not open_messages(self.messages)

    @property
    def question(self) -> str:
        """The last question, without attachments."""
        return question_of(self.messages)


@dataclass(frozen=True)
class Store:
    """An open checkpoint database."""

    saver: Saver
    hold: Callable[[str], AbstractAsyncContextManager[bool]]
    """Takes a name for this process alone; gives whether no other had it."""

    @asynccontextmanager
    async def lock(self, thread: str) -> AsyncIterator[None]:
        """Hold a thread for this process alone; one of `moa batch` together with its batch.

        Raises:
            StoreError: If another process holds it.
        """
        batch = _OF_BATCH.fullmatch(thread)
        async with AsyncExitStack() as held:
            for name in (batch[1], thread) if batch else (thread,):
                if not await held.enter_async_context(self.hold(name)):
                    raise StoreError(f"thread {thread} is being run by another process")
            yield


@asynccontextmanager
async def open_store(db: str | None, *, make: bool = True) -> AsyncIterator[Store]:
    """Open the checkpoint database.

    Args:
        db: Path of an SQLite file, or address of a PostgreSQL database.
        make: Whether a file that was named and is missing is made; who only reads may have
            misspelt it.

    Raises:
        StoreError: If it cannot be used.
    """
    opened = _open_postgres(str(db)) if is_postgres(db) else _open_sqlite(db, make=make)
    try:
        async with opened as store:
            yield store
    except (sqlite3.Error, OSError) as error:
        where = without_password(db) if db else "runs.sqlite"
        raise StoreError(f"cannot use the database {where}: {error}") from error


def sqlite_path(db: str | None) -> Path:
    """Give the path of a database, or of the default one; its folder is there."""
    return _with_folder(_place(db))


def is_postgres(db: str | None) -> bool:
    """Whether that is the address of a PostgreSQL database."""
    return bool(db) and str(db).startswith(("postgresql://", "postgres://"))


@asynccontextmanager
async def _open_sqlite(db: str | None, *, make: bool) -> AsyncIterator[Store]:
    if db and not make and not _place(db).exists():
        raise StoreError(f"there is no database {_place(db)}; `moa ask` makes one")
    path = sqlite_path(db)

    @asynccontextmanager
    async def hold(name: str) -> AsyncIterator[bool]:
        file = sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        holder = FileLock(_with_folder(path.with_name(f"{path.name}.locks") / file))
        try:
            holder.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            holder.release()

    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()  # which turns on write-ahead logging
        # A killed process loses nothing; a power cut may lose the last moments, and breaks nothing.
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield Store(saver, hold)


@asynccontextmanager
async def _open_postgres(db: str) -> AsyncIterator[Store]:
    try:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg import AsyncConnection, Error
    except ImportError:
        raise StoreError("PostgreSQL needs a package: pip install 'moa_graph[postgres]'") from None

    @asynccontextmanager
    async def hold(name: str) -> AsyncIterator[bool]:
        # A connection of its own: the lock goes with it, however this process ends.
        async with await AsyncConnection.connect(db, autocommit=True) as connection:
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            row = await (await connection.execute(query, (name,))).fetchone()
            yield bool(row and row[0])

    try:
        async with AsyncPostgresSaver.from_conn_string(db) as saver:
            await saver.setup()
            yield Store(saver, hold)
    except Error as error:
        raise StoreError(f"cannot use the database: {describe(error)}") from None


def _place(db: str | None) -> Path:
    own = Path(db) if db and not is_postgres(db) else None
    return (own or user_data_path("moa_graph", appauthor=False) / "runs.sqlite").expanduser()


def _with_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def resume_command(thread: str, db: str | None) -> str:
    """Give the command that goes on with a thread, fit to be pasted."""
    where = ["--db", without_password(db)] if db and db != os.environ.get("MOA_DB") else []
    return shlex.join(["moa", "resume", thread, *where])


def without_password(db: str) -> str:
    """Leave the password out of a database's address."""
    db = re.sub(r"^([^:]*+://[^/@:]*):.*(?=@)", r"\1", db)
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", db)


def run_config(thread: str, mixture: MoAConfig) -> RunnableConfig:
    """Address a thread, and keep the mixture with its checkpoints so that it can be resumed."""
    kept = mixture.model_dump_json(exclude_defaults=True)
    return {"configurable": {"thread_id": thread}, "metadata": {CONFIG_KEY: kept}}


async def read_threads(
    saver: Saver, limit: int | None = None, *, only: Callable[[Thread], bool] = lambda _: True
) -> list[Thread]:
    """Read the threads, newest first, until there are as many as asked for."""
    seen: set[str] = set()
    found: list[CheckpointTuple] = []
    # What is not read to its end is closed before the database is.
    async with aclosing(cast("AsyncGenerator[CheckpointTuple]", saver.alist(None))) as checkpoints:
        async for checkpoint in checkpoints:
            place = checkpoint.config["configurable"]
            if place.get("checkpoint_ns") or place["thread_id"] in seen:
                continue
            seen.add(place["thread_id"])
            if only(_thread(checkpoint)):
                found.append(checkpoint)
            if len(found) == limit:
                break
    return [await _read(saver, checkpoint) for checkpoint in found]


async def read_thread(saver: Saver, name: str) -> Thread | None:
    """Read one thread, if there is such a thread."""
    checkpoint = await saver.aget_tuple({"configurable": {"thread_id": name}})
    return await _read(saver, checkpoint) if checkpoint else None


async def find_thread(saver: Saver, name: str) -> Thread:
    """Read one thread.

    Raises:
        StoreError: If there is no such thread.
    """
    if thread := await read_thread(saver, name):
        return thread
    raise StoreError(f"no thread {name!r}; `moa threads` lists them")


def no_question(thread: Thread) -> str:
    """Say that there is nothing to show of a thread."""
    if thread.messages:
        return f"thread {thread.id!r} was stopped before its question was taken in"
    return f"thread {thread.id!r} has no question"


def readable(thread: Thread) -> MoAConfig:
    """Give the mixture of a thread.

    Raises:
        StoreError: If it is not known.
    """
    if thread.config is None:
        raise StoreError(
            f"thread {thread.id!r} was written by another program or version: go on with it there"
        )
    return thread.config


async def read_newest_turn(graph: CompiledMoA, config: RunnableConfig) -> Turn:
    """Read the newest turn of a thread, with questions before it that were never answered."""
    snapshot = await graph.aget_state(config)
    turn = read_turn(snapshot)
    if turn.status != "unanswered" or not open_messages(turn.history):
        return turn
    return read_turn(snapshot, [each async for each in graph.aget_state_history(config)])


async def read_values(graph: CompiledMoA, config: RunnableConfig) -> dict[str, Any]:
    """Read the state of a thread, as `present_values` gives it."""
    return present_values(graph, await graph.aget_state(config))


def present_values(graph: CompiledMoA, snapshot: StateSnapshot) -> dict[str, Any]:
    """Give a state with the proposals of its present turn, in configured order.

    Those count too that were stored in the middle of a layer, and that the state will only take
    in when the layer is over.
    """
    values = dict(snapshot.values)
    if START in snapshot.next:  # the question of these proposals is not the last one
        values["proposals"] = {}
    results = [(task.result or {}).get("proposals", {}) for task in snapshot.tasks]
    proposals = merge_writes(present_proposals(values), results)
    values["proposals"] = {node: proposals[node] for node in graph.nodes if node in proposals}
    return values


async def _read(saver: Saver, checkpoint: CheckpointTuple) -> Thread:
    """Read a thread whole; the account of an answer says who failed, without the proposals."""
    thread = _thread(checkpoint)
    if not thread.messages:
        return thread
    account = thread.messages[-1].response_metadata.get("moa") if thread.finished else None
    if account:
        return replace(thread, failed=account.get("failed", ()))
    values = {"messages": thread.messages, "proposals": await _proposals(saver, checkpoint)}
    failed = [node for node, p in present_proposals(values).items() if p["error"]]
    return replace(thread, failed=failed)


async def _proposals(saver: Saver, checkpoint: CheckpointTuple) -> dict[str, Proposal]:
    """Put together what a checkpoint has and what was written since the last that has them all."""
    values, name = checkpoint.checkpoint["channel_values"], "proposals"
    stored, writes = values.get(name), list(checkpoint.pending_writes or ())
    if stored is None:
        read = await saver.aget_delta_channel_history(config=checkpoint.config, channels=[name])
        stored, writes = read[name].get("seed", {}), [*read[name]["writes"], *writes]
    channel = DeltaChannel(merge_writes, dict).from_checkpoint(stored)
    channel.replay_writes([write for write in writes if write[1] == name])
    return cast("dict[str, Proposal]", channel.get())


def _thread(checkpoint: CheckpointTuple) -> Thread:
    """Read what stands in the checkpoint itself."""
    writes = checkpoint.pending_writes or ()
    return Thread(
        id=checkpoint.config["configurable"]["thread_id"],
        when=datetime.fromisoformat(checkpoint.checkpoint["ts"]),
        messages=_messages_with_input(checkpoint.checkpoint["channel_values"]),
        config=_kept_config(dict(checkpoint.metadata).get(CONFIG_KEY)),
        failed=(),
        stopped=_what_stopped([str(value) for _, channel, value in writes if channel == ERROR]),
    )


def _messages_with_input(values: Mapping[str, Any]) -> list[AnyMessage]:
    """Give the messages of a checkpoint, with an input that has not yet joined them."""
    messages: list[AnyMessage] = values.get("messages", [])
    given = values.get(START)  # another program's may be of any kind
    unread = given.get("messages") if isinstance(given, Mapping) else None
    return add_messages(messages, unread) if unread else messages  # type: ignore[arg-type, return-value]


def _what_stopped(errors: Sequence[str]) -> Literal["failed", "interrupted"] | None:
    if not errors:
        return None
    return "interrupted" if all(each.startswith(CANCELLED) for each in errors) else "failed"


def _kept_config(kept: Any) -> MoAConfig | None:
    try:
        return MoAConfig.model_validate_json(kept) if kept else None
    except ValidationError:
        return None
