"""How a run is shown while it goes on: a live view on a terminal, else lines, or nothing."""

import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from langchain_core.messages import BaseMessage

from moa_graph.cli.terminal.progress import Progress, Row
from moa_graph.cli.terminal.text import line_of, reason


class View:
    """Shows nothing."""

    streams: ClassVar[bool] = False
    """Whether it shows what proposers write while they write it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave nothing behind."""

    def update(self, event: Mapping[str, Any]) -> None:
        """Take in an event of `stream_mode="tasks"`."""
        self.progress.update(event)

    def hear(self, node: str, message: BaseMessage) -> None:
        """Take in a piece of an answer."""
        self.progress.hear(node, message)

    async def hand_over(self) -> None:
        """Make room: the final answer appears below."""


class Lines(View):
    """A line for each event, on standard error."""

    async def __aenter__(self) -> Self:
        kept = [row for row in self.progress.nodes.values() if row.done]
        if kept:
            _say(f"{len(kept)} proposals were stored")
        return self

    def update(self, event: Mapping[str, Any]) -> None:
        """Say who is asked, and what came of it."""
        if row := self.progress.update(event):
            _say(_told(row, len(self.progress.layers)))


def kind_of_view(*, wanted: bool | None) -> type[View]:
    """Choose how a run is shown.

    Args:
        wanted: Whether someone asked for it; by default it is shown on a terminal.
    """
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return View
    if not sys.stderr.isatty():
        return Lines
    from moa_graph.cli.terminal.live_view import LiveView, able

    return LiveView if able() else Lines


def _told(row: Row, layers: int) -> str:
    where = f"layer {row.layer}: {row.name}" if row.layer < layers else row.name
    if not row.done:
        return f"{where} is asked ({row.model})"
    took = f"{row.seconds or 0:.1f} s"
    if row.error:
        return f"{where} {row.state} after {took}: {reason(row.error)}"
    tokens = "" if row.tokens is None else f", {row.tokens:,} tokens"
    return f"{where} answered in {took}{tokens}"


def _say(text: str) -> None:
    sys.stderr.write(f"{line_of(text)}\n")
    sys.stderr.flush()
