"""The live view of a run: each layer's proposers as they wait, run, finish or fail."""

import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from moa_graph.cli.text import plain
from moa_graph.secrecy import describe
from moa_graph.state import Proposal


@dataclass
class Row:
    """One agent."""

    group: str
    name: str
    model: str
    started: float | None = None
    seconds: float | None = None
    tokens: int | None = None
    error: str | None = None
    writing: bool = False
    """Whether its answer is being read elsewhere."""

    @property
    def done(self) -> bool:
        """Whether it has answered or failed."""
        return self.seconds is not None

    def finish(self, proposal: Proposal) -> None:
        """Take in what it wrote."""
        usage = proposal["usage"]
        self.seconds, self.error = proposal["seconds"], proposal["error"]
        self.tokens = usage["output_tokens"] if usage else None

    def cells(self) -> Iterable[RenderableType]:
        """What the table shows of it."""
        seconds = self.seconds
        if seconds is None and self.started is not None:
            seconds = perf_counter() - self.started
        yield Text("  ") if self.started is None and not self.done else self._mark()
        yield Text(plain(self.name))
        yield Text(plain(self.error), "red") if self.error else Text(plain(self.model), "dim")
        yield Text("" if seconds is None else f"{seconds:.1f} s")
        yield Text("" if self.tokens is None else f"{self.tokens:,} tok")

    def _mark(self) -> RenderableType:
        if self.writing:
            return Text("→", "green")
        if not self.done:
            return Spinner("dots", style="cyan")
        return Text("✗", "red") if self.error else Text("✓", "green")


class LiveView:
    """A table on standard error, where that is a terminal."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        """Take the model of each node that calls one."""
        self.rows = {node: Row(*_split(node), model) for node, model in nodes.items()}
        self._console = Console(stderr=True)
        self._live = Live(
            console=self._console,
            get_renderable=self.table,
            refresh_per_second=10,
            redirect_stdout=False,
        )
        self._stored: set[str] = set()
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> Self:
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def hand_over(self, node: str) -> None:
        """Leave the table as it is: an answer appears below it."""
        if node in self.rows:
            self.rows[node].writing = True
        self.stop()

    def stop(self) -> None:
        """Stop drawing."""
        if self._live.is_started:
            self._live.stop()

    def keep(self, proposals: Mapping[str, Proposal], stored: Collection[str]) -> None:
        """Show what an earlier process had received.

        LangGraph reports the start, but not the end, of the tasks whose results are `stored`.
        """
        self._stored = set(stored)
        for node, proposal in proposals.items():
            if node in self.rows:
                self.rows[node].finish(proposal)

    def update(self, event: Mapping[str, Any]) -> None:
        """Take in an event of `stream_mode="tasks"`."""
        if not (row := self.rows.get(event["name"])):
            return
        if "input" in event and event["name"] in self._stored:
            self._stored.discard(event["name"])
        elif "input" in event:
            row.started, row.seconds, row.error = perf_counter(), None, None
        elif proposal := (event["result"] or {}).get("proposals", {}).get(event["name"]):
            row.finish(proposal)
        else:
            row.seconds = perf_counter() - (row.started or 0)
            row.error = event["error"] and describe(event["error"])
            for message in (event["result"] or {}).get("messages", ()):
                row.tokens = (message.usage_metadata or {}).get("output_tokens")

    def table(self) -> Table:
        """Draw the present state; layers that are over shrink where the terminal is low."""
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=2)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        groups: dict[str, list[Row]] = {}
        for row in self.rows.values():
            groups.setdefault(row.group, []).append(row)
        low = len(self.rows) + len(groups) >= self._console.height
        for group, rows in groups.items():
            if low and all(row.done for row in rows):
                table.add_row(*_summary(group, rows))
                continue
            if len(rows) > 1 or rows[0].name != group:
                table.add_row("", Text(group, "bold"))
            for row in rows:
                table.add_row(*row.cells())
        return table


def _split(node: str) -> tuple[str, str]:
    """Tell the layer and the agent of a node."""
    match = re.fullmatch(r"layer_(\d+)_(.+)", node)
    return (f"layer {match[1]}", match[2]) if match else (node, node)


def _summary(group: str, rows: list[Row]) -> Iterable[RenderableType]:
    answered = [row for row in rows if not row.error]
    tokens = sum(row.tokens or 0 for row in rows)
    yield Text("✓" if len(answered) == len(rows) else "✗", "green" if answered else "red")
    yield Text(group, "bold")
    yield Text(f"{len(answered)} of {len(rows)} answered", "dim")
    yield Text(f"{max(row.seconds or 0 for row in rows):.1f} s")
    yield Text(f"{tokens:,} tok" if tokens else "")
