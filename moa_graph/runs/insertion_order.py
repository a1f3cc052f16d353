"""A checkpointer on SQLite for which the newest checkpoint is the one that was written last.

LangGraph's own goes by the names of checkpoints, which begin with the time: where a clock went
back, what was written last is not what it finds.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.checkpoint.sqlite.utils import search_where

# SQLite numbers the rows of a table as they come; `+` has it use the index of the thread.
NEWEST_FIRST = "ORDER BY +rowid DESC"
WRITTEN_BEFORE = "rowid < (SELECT max(rowid) FROM checkpoints WHERE checkpoint_id = ?)"


class InsertionOrderSqliteSaver(AsyncSqliteSaver):
    """A checkpointer that goes by the order in which checkpoints were written."""

    orders_by_insertion = True

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Read a checkpoint; without a `checkpoint_id` the one that was written last."""
        if get_checkpoint_id(config):
            return await super().aget_tuple(config)
        configurable = config["configurable"]
        address = {
            "thread_id": str(configurable["thread_id"]),
            "checkpoint_ns": configurable.get("checkpoint_ns", ""),
        }
        newest = await self._find_checkpoints({"configurable": address}, limit=1)
        return await super().aget_tuple(newest[0]) if newest else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints, the one that was written last first."""
        for each in await self._find_checkpoints(config, filter, before, limit):
            if checkpoint := await self.aget_tuple(each):
                yield checkpoint

    async def _find_checkpoints(
        self,
        config: RunnableConfig | None,
        metadata: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Sequence[RunnableConfig]:
        """Name checkpoints, newest first, without reading their content."""
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
