"""The picture of a run, as the page draws it: one cell for each agent, live or from a state."""

import re
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from time import time
from typing import Any

from langchain_core.messages import HumanMessage

from moa_graph.config.model import MoAConfig
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.prompting.parsing import storable
from moa_graph.prompting.tokens import count_bytes, count_tokens_of_bytes
from moa_graph.redaction import describe
from moa_graph.runs.record import Call, Run, read_run
from moa_graph.runs.store import CompiledMoA

Json = dict[str, Any]

_SHOWN = (
    *("node", "layer", "agent", "model", "status", "error", "seconds", "read", "written", "cost"),
    "critical",
)


@dataclass
class Cell:
    """What one agent is doing, or has done."""

    node: str
    layer: int
    agent: str
    model: str
    status: str = "waiting"
    """`waiting`, `running`, `answered`, `failed`, `cut off`, `dropped`."""
    error: str | None = None
    started: float | None = None
    """Seconds since 1970."""
    seconds: float | None = None
    read: int | None = None
    """Tokens that it read."""
    written: int | None = None
    """Tokens that it wrote; while it runs, an estimate."""
    cost: float | None = None
    """US dollars, estimated; `None` if not known."""
    critical: bool = False
    """Whether its layer waited for it."""
    rewrites: int = 0
    """How often its text began anew."""
    message: str = ""
    """Id of the message that is coming."""
    _pieces: list[str] = field(default_factory=list, repr=False)
    _bytes: int = 0

    @property
    def text(self) -> str:
        """What it has written, put together when somebody looks: it comes in many pieces."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def clear(self, status: str) -> None:
        """Forget what it has done."""
        self.status, self.error, self.critical, self.message = status, None, False, ""
        self.started = self.seconds = self.read = self.written = self.cost = None
        self.write("")

    def write(self, text: str) -> None:
        """Put another text in the place of its text."""
        if text != self.text:
            self._pieces, self._bytes, self.rewrites = [text], count_bytes(text), self.rewrites + 1

    def hear(self, message: str, token: str) -> None:
        """Take in a piece of its answer; that of another message begins anew: a fallback's."""
        if message != self.message:
            self.message = message
            self.write("")
        self._pieces.append(piece := storable(token))
        self._bytes += count_bytes(piece)
        self.written = count_tokens_of_bytes(self._bytes)

    def take(self, call: Call) -> None:
        """Take in a call that is over."""
        self.status, self.error = call.status, call.error
        self.model, self.started, self.seconds = call.model, call.started, call.seconds
        self.read = call.usage["input_tokens"] if call.usage else None
        self.written = call.usage["output_tokens"] if call.usage else None
        self.cost = call.cost
        self.write(call.text)

    def json(self) -> Json:
        """Give it without its text."""
        cell = {name: getattr(self, name) for name in _SHOWN}
        if self.status == "running" and self.started:
            cell["seconds"] = round(time() - self.started, 3)
        return cell


class Board:
    """The cells of a mixture, in order; the aggregator's is the last."""

    def __init__(self, graph: CompiledMoA, mixture: MoAConfig) -> None:
        self._prices = mixture.prices
        self.cells = {cell.node: cell for cell in _cells(graph, len(mixture.layers) + 1)}
        self._stored: set[str] = set()

    @property
    def nodes(self) -> Collection[str]:
        """The names of the cells."""
        return self.cells.keys()

    def show(self, values: Mapping[str, Any], coming: Collection[str]) -> Run:
        """Show a state: `values` as `present_values` gives them, and the nodes that come next."""
        run = read_run(values, prices=self._prices, order=self.nodes)
        reached = max((call.layer for call in run.calls), default=1)
        known = {call.node: call for call in run.calls}
        for node, cell in self.cells.items():
            if node in known:
                cell.take(known[node])
                cell.critical = run.answer is not None and node in run.critical
            else:
                dropped = cell.layer <= reached and node not in coming and bool(known)
                cell.clear("dropped" if dropped and node != AGGREGATOR else "waiting")
        return run

    def keep(self, stored: Collection[str]) -> None:
        """Name the nodes whose results an earlier run has stored.

        LangGraph reports the start, but not the end, of such tasks.
        """
        self._stored = set(stored)

    def hear(self, message: Any, metadata: Mapping[str, Any]) -> None:
        """Take in an event of `stream_mode="messages"`."""
        cell = self.cells.get(metadata["langgraph_node"])
        if cell and cell.status == "running" and message.text:
            cell.hear(message.id or "", message.text)

    def update(self, event: Mapping[str, Any]) -> None:
        """Take in an event of `stream_mode="tasks"`."""
        if not (cell := self.cells.get(event["name"])):
            return
        if "input" not in event:
            self._finish(cell, event)
        elif cell.node in self._stored:
            self._stored.discard(cell.node)
        else:
            cell.clear("running")
            cell.started = time()

    def stop(self) -> None:
        """Note that nobody is asked any more."""
        for cell in self.cells.values():
            if cell.status == "running":
                cell.clear("waiting")

    def changes(self, sent: MutableMapping[str, Json]) -> list[Json]:
        """Give what has changed since the last call with the same `sent`, and note it there.

        A cell comes whole, but of a text that only grew what it grew by (`more`).
        """
        changed = []
        for node, cell in self.cells.items():
            now = {**_still(cell.json()), "rewrites": cell.rewrites, "length": len(cell.text)}
            before = sent.get(node, {"rewrites": None, "length": 0})
            if now != before:
                again = now["rewrites"] != before["rewrites"]
                text = {"text": cell.text} if again else {"more": cell.text[before["length"] :]}
                changed.append(cell.json() | text)
            sent[node] = now
        return changed

    def json(self) -> list[Json]:
        """Give all cells with their texts."""
        return [cell.json() | {"text": cell.text} for cell in self.cells.values()]

    def _finish(self, cell: Cell, event: Mapping[str, Any]) -> None:
        result = event["result"] or {}
        if proposal := result.get("proposals", {}).get(cell.node):
            question = HumanMessage("", id=proposal["turn"])
            result = {"messages": [question], "proposals": {cell.node: proposal}}
        if result.get("messages"):
            cell.take(read_run(result, prices=self._prices).calls[-1])
        elif event["error"]:
            cell.clear("failed")
            cell.error = describe(event["error"])


def _cells(graph: CompiledMoA, last: int) -> list[Cell]:
    cells = []
    for node, spec in graph.builder.nodes.items():
        model = (spec.metadata or {}).get("model")
        if model and (match := re.fullmatch(r"layer_(\d+)_(.+)", node)):
            cells.append(Cell(node, int(match[1]), match[2], model))
        elif node == AGGREGATOR:
            cells.append(Cell(node, last, AGGREGATOR, model or ""))
    return cells


def _still(cell: Json) -> Json:
    """Leave out the seconds of a running call: they change all the time."""
    return cell | {"seconds": None} if cell["status"] == "running" else cell
