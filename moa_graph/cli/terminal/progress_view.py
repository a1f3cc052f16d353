"""Views of a run while it goes on: none, and a line for each event."""

import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from langchain_core.messages import BaseMessage

from moa_graph.cli.terminal.progress import AgentProgress, RunProgress
from moa_graph.cli.terminal.text import failure_reason, to_single_line
from moa_graph.runs.formatting import format_seconds


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

    def update(self, event: Mapping[str, Any]) -> None:
        """Take in an event of `stream_mode="tasks"`."""
        self.progress.update(event)

    def add_chunk(self, node: str, message: BaseMessage) -> None:
        """Take in a piece of an answer."""
        self.progress.add_chunk(node, message)

    async def make_room_for_answer(self) -> None:
        """Make room: the final answer appears below."""


class LineView(ProgressView):
    """A line for each event, on standard error."""

    async def __aenter__(self) -> Self:
        stored = [row for row in self.progress.nodes.values() if row.done]
        if stored:
            _print_line(f"{len(stored)} proposals were stored")
        return self

    def update(self, event: Mapping[str, Any]) -> None:
        """Say who is asked, and what came of it."""
        if row := self.progress.update(event):
            _print_line(_describe_agent(row, len(self.progress.layers)))


def _describe_agent(row: AgentProgress, layers: int) -> str:
    agent_name = f"layer {row.layer}: {row.name}" if row.layer < layers else row.name
    if not row.done:
        return f"{agent_name} is asked ({row.model})"
    duration = format_seconds(row.seconds or 0)
    if row.error:
        return f"{agent_name} {row.state} after {duration}: {failure_reason(row.error)}"
    tokens = "" if row.tokens is None else f", {row.tokens:,} tokens"
    return f"{agent_name} answered in {duration}{tokens}"


def _print_line(text: str) -> None:
    sys.stderr.write(f"{to_single_line(text)}\n")
    sys.stderr.flush()
