"""Where runs are kept, and what is kept with them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph.state import CompiledStateGraph
from platformdirs import user_data_path

from moa_graph.cli.errors import CommandError
from moa_graph.config import MoAConfig

Saver = BaseCheckpointSaver[Any]
CompiledMoA = CompiledStateGraph[Any, Any, Any, Any]

CONFIG_KEY = "moa_config"  # in the metadata of each checkpoint


@dataclass(frozen=True)
class Thread:
    """A thread as its last checkpoint shows it."""

    id: str
    when: datetime
    messages: list[AnyMessage]
    config: MoAConfig | None
    """The mixture that was asked; `None` if another program wrote the thread."""

    @property
    def finished(self) -> bool:
        """Whether its last question is answered."""
        return bool(self.messages) and self.messages[-1].type == "ai"

    @property
    def question(self) -> str:
        """The last question, without attachments."""
        asked = [message.text for message in self.messages if message.type == "human"]
        return asked[-1].partition("\n\n<file ")[0] if asked else ""


@asynccontextmanager
async def open_store(db: Path | None) -> AsyncIterator[Saver]:
    """Open the checkpoint database, and make it where it is missing."""
    path = db or user_data_path("moa_graph", appauthor=False) / "runs.sqlite"
    try:
        path = _with_folder(path)
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            await saver.setup()
            yield saver
    except (sqlite3.Error, OSError) as error:
        raise CommandError(f"cannot use the database {path}: {error}") from error


def _with_folder(path: Path) -> Path:
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def run_config(thread: str, mixture: MoAConfig) -> RunnableConfig:
    """Address a thread, and keep the mixture with its checkpoints so that it can be resumed."""
    kept = mixture.model_dump_json(exclude_defaults=True)
    return {"configurable": {"thread_id": thread}, "metadata": {CONFIG_KEY: kept}}


async def read_threads(saver: Saver) -> AsyncIterator[Thread]:
    """Read the threads, newest first."""
    seen: set[str] = set()
    async for checkpoint in saver.alist(None):
        place = checkpoint.config["configurable"]
        if not place.get("checkpoint_ns") and place["thread_id"] not in seen:
            seen.add(place["thread_id"])
            yield _thread(checkpoint)


async def read_thread(saver: Saver, name: str) -> Thread | None:
    """Read one thread, if there is such a thread."""
    checkpoint = await saver.aget_tuple({"configurable": {"thread_id": name}})
    return _thread(checkpoint) if checkpoint else None


async def read_values(graph: CompiledMoA, config: RunnableConfig) -> dict[str, Any]:
    """Read the state of a thread, with the proposals of its present turn in configured order.

    Those count too that were stored in the middle of a layer, and that the state will only take
    in when the layer is over.
    """
    snapshot = await graph.aget_state(config)
    values = dict(snapshot.values)
    last = values["messages"][-1]
    proposals = {
        node: proposal
        for node, proposal in values.get("proposals", {}).items()
        if last.type == "ai" or proposal["turn"] == last.id
    }
    for task in snapshot.tasks:
        proposals |= (task.result or {}).get("proposals", {})
    values["proposals"] = {node: proposals[node] for node in graph.nodes if node in proposals}
    return values


def _thread(checkpoint: CheckpointTuple) -> Thread:
    kept: Any = dict(checkpoint.metadata).get(CONFIG_KEY)
    return Thread(
        id=checkpoint.config["configurable"]["thread_id"],
        when=datetime.fromisoformat(checkpoint.checkpoint["ts"]),
        messages=checkpoint.checkpoint["channel_values"].get("messages", []),
        config=MoAConfig.model_validate_json(kept) if kept else None,
    )
