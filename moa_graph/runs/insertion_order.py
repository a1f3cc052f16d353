"""A SQLite checkpointer that orders checkpoints by insertion instead of time.

LangGraph's checkpointer orders by checkpoint ids, which begin with the time. After a clock was set
back, it does not find the checkpoint that was written last.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory, get_checkpoint_id
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.checkpoint.sqlite.utils import search_where

from moa_graph.runs.damage import name_damaged_thread

# SQLite numbers rows in insertion order; `+` makes it use the index of the thread.
NEWEST_FIRST = "ORDER BY +rowid DESC"
WRITTEN_BEFORE = "rowid < (SELECT max(rowid) FROM checkpoints WHERE checkpoint_id = ?)"
# After the largest row number (2**63 - 1), SQLite assigns any free number to new rows.
_LARGE_ROW_NUMBER = 2**62
_LARGE_ROWS = "SELECT rowid FROM checkpoints WHERE rowid > ? ORDER BY rowid"
_RENUMBER_ROW = (
    "UPDATE checkpoints SET rowid = "
    "(SELECT coalesce(max(rowid), 0) + 1 FROM checkpoints WHERE rowid <= ?) WHERE rowid = ?"
)


class InsertionOrderSqliteSaver(AsyncSqliteSaver):
    """A SQLite checkpointer that orders checkpoints by insertion."""

    orders_by_insertion = True
    path = ""
    """Path of the file, for errors."""

    async def setup(self) -> None:
        """Create the tables, and renumber rows if numbers run out."""
        if not self.is_setup:
            await super().setup()
            await self._renumber_large_rows()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read a checkpoint; without a `checkpoint_id`, the one that was written last."""
        if get_checkpoint_id(config):
            with name_damaged_thread(config["configurable"]["thread_id"], self.path):
                checkpoint = await super().aget_tuple(config)
                if checkpoint and not isinstance(checkpoint.checkpoint, dict):
                    raise TypeError(f"expected a checkpoint, got {checkpoint.checkpoint!r:.40}")
                return checkpoint
        configurable = config["configurable"]
        address = {
            "thread_id": str(configurable["thread_id"]),
            "checkpoint_ns": configurable.get("checkpoint_ns", ""),
        }
        newest = await self._find_checkpoints({"configurable": address}, limit=1)
        return await self.aget_tuple(newest[0]) if newest else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints, last written first."""
        for each in await self._find_checkpoints(config, filter, before, limit):
            if checkpoint := await self.aget_tuple(each):
                yield checkpoint

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read the writes since a channel was last stored completely."""
        with name_damaged_thread(config["configurable"]["thread_id"], self.path):
            return await super().aget_delta_channel_history(config=config, channels=channels)

    async def _renumber_large_rows(self) -> None:
        limit = _LARGE_ROW_NUMBER
        async with self.lock:
            async with self.conn.execute(_LARGE_ROWS, (limit,)) as cursor:
                rows = [number for (number,) in await cursor.fetchall()]
            if rows:
                await self.conn.executemany(_RENUMBER_ROW, [(limit, number) for number in rows])
                await self.conn.commit()

    async def _find_checkpoints(
        self,
        config: RunnableConfig | None,
        metadata: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Sequence[RunnableConfig]:
        """Return the ids of checkpoints, newest first, without their content."""
        where, values = search_where(config, metadata)
        if before:
            where = f"{where} AND {WRITTEN_BEFORE}" if where else f"WHERE {WRITTEN_BEFORE}"
            values = [*values, get_checkpoint_id(before)]
        query = f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints {where} "  # noqa: S608  # values are bound
        await self.setup()
        async with (
            self.lock,
            self.conn.execute(
                f"{query} {NEWEST_FIRST} LIMIT ?", (*values, -1 if limit is None else limit)
            ) as rows,
        ):
            names = ("thread_id", "checkpoint_ns", "checkpoint_id")
            return [
                {"configurable": dict(zip(names, row, strict=True))}
                for row in await rows.fetchall()
            ]
