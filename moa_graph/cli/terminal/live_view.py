"""The live view of a run on a terminal."""

import asyncio
from time import perf_counter
from typing import Self

from rich.console import Console

from moa_graph.cli.terminal.picture import draw_run, draw_summary
from moa_graph.cli.terminal.progress_view import ProgressView, stop_task
from moa_graph.cli.terminal.region import TerminalRegion
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.runs.live import RunProgress

FRAMES_PER_SECOND = 10  # frames per second


def supports_live_view() -> bool:
    """Return whether the terminal of standard error supports the live view."""
    console = Console(stderr=True)
    has_cursor_control = not console.is_dumb_terminal and not console.legacy_windows
    return has_cursor_control and console.encoding.startswith("utf")


class LiveView(ProgressView):
    """A view on a terminal that is redrawn repeatedly."""

    streams_proposals = True

    def __init__(self, progress: RunProgress) -> None:
        super().__init__(progress)
        self._console = Console(stderr=True, highlight=False)
        self._region = TerminalRegion(self._console)
        self._painter: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._painter = asyncio.create_task(self._paint_frames())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_painting()

    async def make_room_for_answer(self) -> None:
        """Shrink to one line per layer, because the final answer follows."""
        if self._painter:
            self.progress.agents[AGGREGATOR].is_shown_elsewhere = True
            await self._stop_painting()

    async def _stop_painting(self) -> None:
        if not (painter := self._painter):
            return
        self._painter = None
        try:
            await stop_task(painter)
        finally:
            width, height = self._drawable_size()
            self._region.draw(draw_summary(self.progress, width, perf_counter())[-height:])

    async def _paint_frames(self) -> None:
        while True:
            self._region.draw(draw_run(self.progress, *self._drawable_size(), perf_counter()))
            await asyncio.sleep(1 / FRAMES_PER_SECOND)

    def _drawable_size(self) -> tuple[int, int]:
        """Return the usable columns and lines; the last of each stays free."""
        width, height = self._console.size
        return max(1, width - 1), max(1, height - 1)
