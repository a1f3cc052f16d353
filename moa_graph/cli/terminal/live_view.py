"""A run on a terminal: a picture that is drawn again and again."""

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import Self

from rich.console import Console

from moa_graph.cli.terminal.live import View
from moa_graph.cli.terminal.picture import picture, summary
from moa_graph.cli.terminal.progress import Progress
from moa_graph.cli.terminal.region import Area
from moa_graph.graph.node_names import AGGREGATOR

FRAMES = 10  # a second


def able() -> bool:
    """Whether the terminal behind standard error can show a picture."""
    console = Console(stderr=True)
    draws = not console.is_dumb_terminal and not console.legacy_windows
    return draws and console.encoding.startswith("utf")


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
