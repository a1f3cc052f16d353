"""A turn that is run on a thread: what the graph is invoked with, and its events as they come."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Self, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import StreamMode

from moa_graph.graph.turns import Turn
from moa_graph.runs.live import AgentProgress, RunProgress
from moa_graph.runs.store import CompiledMoA, current_turn_values, read_newest_turn

GraphInput = dict[str, Any] | None
InputForTurn = Callable[[Turn], GraphInput]
"""Gives what the graph is invoked with, for the newest turn of the thread."""
AgentUpdate = tuple[AgentProgress, BaseMessage | None]
"""An agent that changed, and the chunk of its answer if that is what changed it."""


@dataclass(frozen=True)
class TurnRun:
    """A run that asks a question or resumes a turn. Whoever runs it holds the thread."""

    graph: CompiledMoA
    config: RunnableConfig
    graph_input: GraphInput
    progress: RunProgress

    @classmethod
    async def prepare(
        cls,
        graph: CompiledMoA,
        config: RunnableConfig,
        input_for_turn: InputForTurn,
        progress: RunProgress,
    ) -> Self:
        """Choose the input, and take in what is stored where the run goes on with a turn.

        Args:
            graph: The compiled mixture.
            config: Names the thread, and the checkpoint if it is not the newest.
            input_for_turn: Chooses the input.
            progress: What the run is followed by; nothing is done yet.
        """
        graph_input = input_for_turn(await read_newest_turn(graph, config))
        if graph_input is None:
            await _load_stored(progress, graph, config)
        return cls(graph, config, graph_input, progress)

    async def stream(self, *, chunks: bool = True) -> AsyncGenerator[AgentUpdate, None]:
        """Run, and give each agent that changed, and the chunk of its answer that changed it.

        Args:
            chunks: Whether chunks of answers are wanted: agents that are not streamed cost less.

        Raises:
            Exception: Whatever ends the run; what was answered is stored.
        """
        modes: list[StreamMode] = ["tasks", "messages"] if chunks else ["tasks"]
        run = self.graph.astream(
            self.graph_input, self.config, stream_mode=modes, durability="sync"
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", run)) as events:
            async for mode, event in events:
                if mode == "tasks":
                    agent, chunk = self.progress.update(event), None
                else:
                    agent, chunk = self.progress.add_chunk(*event), event[0]
                if agent:
                    yield agent, chunk


async def _load_stored(progress: RunProgress, graph: CompiledMoA, config: RunnableConfig) -> None:
    snapshot = await graph.aget_state(config)
    if "checkpoint_id" in config["configurable"]:  # a fork, which takes no half layers over
        progress.load_state(snapshot.values, snapshot.next)
    elif snapshot.values.get("messages"):  # else it was stopped before anything was taken in
        stored = [task.name for task in snapshot.tasks if task.result]
        progress.load_state(current_turn_values(graph, snapshot), snapshot.next, stored)
