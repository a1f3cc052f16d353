"""Run a turn on a thread and yield its events."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Self, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Durability, StateSnapshot, StreamMode

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.failed_calls import EARLIER_CALLS_KEY
from moa_graph.graph.turns import Turn
from moa_graph.runs.live import AgentProgress, RunProgress
from moa_graph.runs.store import is_database_error
from moa_graph.runs.stored_errors import read_failed_calls
from moa_graph.runs.stored_turns import current_turn_values, read_current_values, read_newest_turn

GraphInput = dict[str, Any] | None
InputForTurn = Callable[[Turn], GraphInput]
"""Returns the input of the graph for the newest turn of the thread."""
AgentUpdate = tuple[AgentProgress, BaseMessage | None]
"""An agent that changed, and the chunk of its answer, if a chunk changed it."""

_INPUT_NODE = "__input__"  # LangGraph's name of what writes the input of a run


@dataclass(frozen=True)
class TurnResult:
    """Result of a turn that was run to its end."""

    values: Mapping[str, Any]
    """The state; for a failed turn, with the answers so far."""
    error: Exception | None = None
    """Cause of a failure; `None` on success."""


@dataclass(frozen=True)
class TurnRun:
    """A run that asks a question or resumes a turn. The caller holds the thread."""

    graph: CompiledMoAGraph
    config: RunnableConfig
    graph_input: GraphInput
    snapshot: StateSnapshot | None = None
    """State of the thread before the run; `None` if the graph has no checkpointer."""
    is_answered: bool = False
    """Whether the newest turn is already answered, and no question is asked."""

    @classmethod
    async def prepare(
        cls, graph: CompiledMoAGraph, config: RunnableConfig, input_for_turn: InputForTurn
    ) -> Self:
        """Read the thread, and choose the input.

        Args:
            graph: The compiled mixture.
            config: Config with the thread, and the checkpoint if it is not the newest.
            input_for_turn: Chooses the input.
        """
        snapshot = await graph.aget_state(config)
        turn = await read_newest_turn(graph, config, snapshot)
        graph_input = input_for_turn(turn)
        if graph_input is None and (failed_calls := read_failed_calls(snapshot)):
            configurable = {**config["configurable"], EARLIER_CALLS_KEY: failed_calls}
            config = {**config, "configurable": configurable}
        return cls(graph, config, graph_input, snapshot, turn.answered and graph_input is None)

    def load_stored(self, progress: RunProgress) -> None:
        """Load the stored calls of a resumed turn into the progress."""
        if self.graph_input is not None or self.snapshot is None:
            return
        snapshot = self.snapshot
        if "checkpoint_id" in self.config["configurable"]:  # a fork reuses only complete layers
            progress.load_state(snapshot.values, snapshot.next)
        elif snapshot.values.get("messages"):  # else it was stopped before the input was stored
            stored = [task.name for task in snapshot.tasks if task.result]
            progress.load_state(current_turn_values(self.graph, snapshot), snapshot.next, stored)

    async def stream(
        self, progress: RunProgress, *, chunks: bool = True
    ) -> AsyncGenerator[AgentUpdate, None]:
        """Run, and yield each agent that changed, with the chunk of its answer that changed it.

        Args:
            progress: Receives the events.
            chunks: Whether to stream chunks of answers: calls without streaming need less time.

        Raises:
            Exception: Any error that ends the run; the answers so far are stored.
        """
        modes: list[StreamMode] = ["tasks", "messages"] if chunks else ["tasks"]
        run = self.graph.astream(
            self.graph_input, self.config, stream_mode=modes, durability="sync"
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", run)) as events:
            async for mode, event in events:
                if mode == "tasks":
                    agent, chunk = progress.update(event), None
                else:
                    agent, chunk = progress.add_chunk(*event), event[0]
                if agent:
                    yield agent, chunk

    async def store_input(self) -> None:
        """Store the question of a run that was stopped before the graph stored it."""
        if not self.graph_input or not self.snapshot:
            return
        newest = await self.graph.aget_state(self.config)
        if _checkpoint_id(newest) == _checkpoint_id(self.snapshot):
            await self.graph.aupdate_state(self.config, self.graph_input, as_node=_INPUT_NODE)

    async def run_to_end(self) -> TurnResult:
        """Run without yielding events; a failure is a result.

        Raises:
            Exception: If the database fails: answers that cannot be stored must not be paid for.
        """
        if self.snapshot and self.is_answered:
            return TurnResult(self.snapshot.values)
        values: Mapping[str, Any] = {}
        durability: Durability | None = "sync" if self.graph.checkpointer else None
        try:
            async for state in self.graph.astream(
                self.graph_input, self.config, stream_mode="values", durability=durability
            ):
                values = state
        except Exception as error:
            if is_database_error(error):
                raise
            if self.graph.checkpointer:
                values = await read_current_values(self.graph, self.config)
            return TurnResult(values, error)
        return TurnResult(values)


def _checkpoint_id(snapshot: StateSnapshot) -> str | None:
    return snapshot.config["configurable"].get("checkpoint_id")
