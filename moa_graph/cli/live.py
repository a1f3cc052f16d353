"""How a run is shown while it goes on: a live view on a terminal, else lines, or nothing."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, ClassVar, Self

from langchain_core.messages import BaseMessage
from rich.console import Console

from moa_graph.cli.area import Area
from moa_graph.cli.picture import line_of, picture, summary
from moa_graph.cli.progress import Progress, Row
from moa_graph.cli.text import reason
from moa_graph.naming import AGGREGATOR

FRAMES = 10  # a second


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


class LiveView(View):
    """A picture on a terminal, drawn again and again."""

    streams = True

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress)
        self._console = Console(stderr=True, highlight=False)
        self._area = Area(self._console)
        self._painter: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._painter = asyncio.create_task(self._paint())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def hand_over(self) -> None:
        """Leave a line for each layer: the final answer appears below."""
        if self._painter:
            self.progress.nodes[AGGREGATOR].handed_over = True
            await self._stop()

    async def _stop(self) -> None:
        if not (painter := self._painter):
            return
        self._painter = None
        painter.cancel()
        with suppress(asyncio.CancelledError):
            await painter
        width, height = self._room()
        self._area.draw(summary(self.progress, width, perf_counter())[-height:])

    async def _paint(self) -> None:
        while True:
            self._area.draw(picture(self.progress, *self._room(), perf_counter()))
            await asyncio.sleep(1 / FRAMES)

    def _room(self) -> tuple[int, int]:
        """Columns and lines that may be drawn on: the last of each is left free."""
        width, height = self._console.size
        return max(1, width - 1), max(1, height - 1)


def kind_of_view(*, wanted: bool | None) -> type[View]:
    """Choose how a run is shown.

    Args:
        wanted: Whether someone asked for it; by default it is shown on a terminal.
    """
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return View
    console = Console(stderr=True)
    able = sys.stderr.isatty() and not console.is_dumb_terminal and not console.legacy_windows
    return LiveView if able and console.encoding.startswith("utf") else Lines


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
