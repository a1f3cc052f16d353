"""A run while it goes on: who waits, is asked, writes, has answered or failed."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, Self

from langchain_core.messages import AIMessageChunk, BaseMessage

from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.policy import Rules
from moa_graph.graph.state import Proposal
from moa_graph.redaction import describe
from moa_graph.runs.record import status_of
from moa_graph.runs.store import CompiledMoA

LONGEST_TAIL = 400  # characters: more than a line of any terminal


@dataclass
class Row:
    """One agent."""

    layer: int
    """From 1; the aggregator's is one more than the last."""
    name: str
    model: str
    started: float | None = None
    """On the clock of `perf_counter`."""
    seconds: float | None = None
    tokens: int | None = None
    error: str | None = None
    tail: str = ""
    """The end of what it has written."""
    pieces: int = 0
    """How many pieces of a streamed answer have come: about as many as tokens."""
    message: str | None = None
    """The id of the message that it writes."""
    handed_over: bool = False
    """Whether its answer is being read elsewhere."""

    @property
    def state(self) -> Literal["waiting", "running", "answered", "failed", "cut off"]:
        """How far it is."""
        if self.seconds is not None:
            return status_of(self.error)
        return "waiting" if self.started is None else "running"

    @property
    def done(self) -> bool:
        """Whether it has answered or failed."""
        return self.seconds is not None

    def elapsed(self, now: float) -> float:
        """Give the seconds that it took, or has taken so far."""
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.started is None else now - self.started

    def begin(self) -> None:
        """Note that it is asked, perhaps again."""
        self.started, self.seconds, self.error, self.tokens = perf_counter(), None, None, None
        self.tail, self.pieces, self.message = "", 0, None

    def finish(self, proposal: Proposal) -> None:
        """Take in what came of it."""
        usage = proposal["usage"]
        self.seconds, self.error = proposal["seconds"], proposal["error"]
        self.tokens = usage["output_tokens"] if usage and not proposal.get("cached") else None


@dataclass(frozen=True)
class Progress:
    """The agents of a run, layer by layer, the aggregator last."""

    layers: Sequence[Sequence[Row]]
    rules: Sequence[Rules]
    """What each layer of proposers needs."""
    nodes: Mapping[str, Row]
    stored: set[str]
    """Nodes whose results an earlier process received: LangGraph reports the start, but not the
    end, of their tasks."""

    @classmethod
    def of(cls, graph: CompiledMoA, rules: Sequence[Rules]) -> Self:
        """Begin with nothing done."""
        nodes = graph.builder.nodes.items()
        models = {name: m for name, node in nodes if (m := (node.metadata or {}).get("model"))}
        rows = {node: Row(*_place(node, len(rules)), model) for node, model in models.items()}
        numbers = range(1, len(rules) + 2)
        layers = [[row for row in rows.values() if row.layer == number] for number in numbers]
        return cls(layers, rules, rows, set())

    def keep(self, proposals: Mapping[str, Proposal], stored: Collection[str]) -> None:
        """Take in what an earlier process had received."""
        self.stored.update(stored)
        for node, proposal in proposals.items():
            if node in self.nodes:
                self.nodes[node].finish(proposal)

    def update(self, event: Mapping[str, Any]) -> Row | None:
        """Take in an event of `stream_mode="tasks"`, and give the row that it changed."""
        node = event["name"]
        if not (row := self.nodes.get(node)):
            return None
        if "input" in event and node in self.stored:
            self.stored.discard(node)
            return None
        result = event.get("result") or {}
        if "input" in event:
            row.begin()
        elif proposal := result.get("proposals", {}).get(node):
            row.finish(proposal)
        else:
            row.seconds = row.elapsed(perf_counter())
            row.error = describe(event["error"]) if event["error"] else None
            for message in result.get("messages", ()):
                row.tokens = (message.usage_metadata or {}).get("output_tokens")
        return row

    def hear(self, node: str, message: BaseMessage) -> None:
        """Take in a piece of an answer; one of another message begins anew."""
        row = self.nodes.get(node)
        if not row or row.done or not isinstance(message, AIMessageChunk) or not message.text:
            return
        if row.message != message.id:
            row.message, row.tail, row.pieces = message.id, "", 0
        row.pieces += 1
        row.tail = (row.tail + message.text)[-LONGEST_TAIL:]

    def needed(self, layer: int) -> int:
        """How many of a layer must answer."""
        rows = self.layers[layer - 1]
        return self.rules[layer - 1].needed(len(rows)) if layer <= len(self.rules) else 1


def _place(node: str, layers: int) -> tuple[int, str]:
    """Tell the layer and the name of the agent of a node."""
    match = re.fullmatch(r"layer_(\d+)_(.+)", node)
    return (int(match[1]), match[2]) if match else (layers + 1, AGGREGATOR)
