"""Views of a run while it goes on: none, and a line for each event."""

import sys
from itertools import chain
from typing import ClassVar, Self

from moa_graph.cli.terminal.plain_text import to_single_line
from moa_graph.cli.terminal.text import failure_reason
from moa_graph.runs.formatting import format_seconds
from moa_graph.runs.live import AgentProgress, RunProgress


class ProgressView:
    """Shows nothing."""

    streams_proposals: ClassVar[bool] = False
    """Whether it shows what proposers write while they write it."""

    def __init__(self, progress: RunProgress) -> None:
        self.progress = progress

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave nothing behind."""

    def show(self, agent: AgentProgress) -> None:
        """Show that an agent was asked, or what came of it."""

    async def make_room_for_answer(self) -> None:
        """Make room: the final answer appears below."""


class LineView(ProgressView):
    """A line for each event, on standard error."""

    async def __aenter__(self) -> Self:
        proposers = chain.from_iterable(self.progress.layers[:-1])
        stored = [row for row in proposers if row.status == "answered"]
        if stored:
            _print_line(f"{len(stored)} proposals were stored")
        return self

    def show(self, agent: AgentProgress) -> None:
        """Say who is asked, and what came of it."""
        _print_line(_describe_agent(agent, len(self.progress.layers)))


def _describe_agent(row: AgentProgress, layers: int) -> str:
    agent_name = f"layer {row.layer}: {row.agent}" if row.layer < layers else row.agent
    if not row.done:
        return f"{agent_name} is asked ({row.model})"
    duration = format_seconds(row.seconds or 0)
    if row.error:
        return f"{agent_name} {row.status} after {duration}: {failure_reason(row.error)}"
    tokens = "" if row.new_tokens is None else f", {row.new_tokens:,} tokens"
    return f"{agent_name} answered in {duration}{tokens}"


def _print_line(text: str) -> None:
    sys.stderr.write(f"{to_single_line(text)}\n")
    sys.stderr.flush()
