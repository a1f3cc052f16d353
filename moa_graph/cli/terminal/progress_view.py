"""Progress output of a run: none, a line after a silence, or a line for each event."""

import asyncio
import sys
from collections.abc import Sequence
from itertools import chain
from time import perf_counter
from typing import ClassVar, Self

from moa_graph.cli.terminal.plain_text import fit_to_stream, to_single_line
from moa_graph.cli.terminal.text import failure_reason
from moa_graph.runs.formatting import format_seconds
from moa_graph.runs.live import SILENCE_S, AgentProgress, RunProgress


class ProgressView:
    """Shows nothing."""

    streams_proposals: ClassVar[bool] = False
    """Whether the view shows the text of running proposers."""

    def __init__(self, progress: RunProgress) -> None:
        self.progress = progress

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove the view."""

    def show(self, agent: AgentProgress) -> None:
        """Show that an agent was called, or its result."""

    async def make_room_for_answer(self) -> None:
        """Make space for the final answer."""


class SilenceView(ProgressView):
    """Prints a line on standard error if a run is silent for long."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__(progress)
        self._reminder: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reminder = asyncio.create_task(self._tell_of_silence())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reminder:
            await stop_task(self._reminder)

    async def _tell_of_silence(self) -> None:
        while True:
            await asyncio.sleep(SILENCE_S)
            if silent := self.progress.silent_agents(perf_counter()):
                _print_line(self._describe_silence(silent))

    def _describe_silence(self, silent: Sequence[AgentProgress]) -> str:
        layers, now = len(self.progress.layers), perf_counter()
        agents = [
            f"{_describe_name(row, layers)} ({format_seconds(row.elapsed(now))})" for row in silent
        ]
        return f"still waiting for {', '.join(agents)}"


class LineView(SilenceView):
    """Prints a line on standard error for each event."""

    async def __aenter__(self) -> Self:
        proposers = chain.from_iterable(self.progress.layers[:-1])
        stored = [row for row in proposers if row.status == "answered"]
        if stored:
            _print_line(f"{len(stored)} proposals were stored")
        return await super().__aenter__()

    def show(self, agent: AgentProgress) -> None:
        """Print the call of an agent, or its result."""
        _print_line(_describe_agent(agent, len(self.progress.layers)))


async def stop_task(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end; a cancellation of the caller is raised.

    Raises:
        Exception: An error of the task.
    """
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _describe_agent(row: AgentProgress, layers: int) -> str:
    agent_name = _describe_name(row, layers)
    if not row.done:
        return f"{agent_name} is called ({row.model})"
    duration = format_seconds(row.seconds or 0)
    hedged = ", hedged" if row.hedged else ""
    if row.error:
        reason = failure_reason(row.error, row.status)
        return f"{agent_name} {row.status} after {duration}{hedged}: {reason}"
    tokens = "" if row.new_tokens is None else f", {row.new_tokens:,} tokens"
    return f"{agent_name} answered in {duration}{tokens}{hedged}"


def _describe_name(row: AgentProgress, layers: int) -> str:
    return f"layer {row.layer}: {row.agent}" if row.layer < layers else row.agent


def _print_line(text: str) -> None:
    sys.stderr.write(f"{fit_to_stream(to_single_line(text), sys.stderr)}\n")
    sys.stderr.flush()
