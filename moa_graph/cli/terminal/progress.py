"""A run while it goes on: who waits, is asked, writes, has answered or failed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, Self

from langchain_core.messages import AIMessageChunk, BaseMessage

from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.state import Proposal
from moa_graph.redaction import redacted_message
from moa_graph.runs.record import call_status
from moa_graph.runs.store import CompiledMoA

MAX_RECENT_CHARS = 400  # characters: more than a line of any terminal


@dataclass
class AgentProgress:
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
    recent_text: str = ""
    """The end of what it has written."""
    chunk_count: int = 0
    """How many pieces of a streamed answer have come: about as many as tokens."""
    message_id: str | None = None
    """The id of the message that it writes."""
    is_shown_elsewhere: bool = False
    """Whether its answer is being read elsewhere."""

    @property
    def state(self) -> Literal["waiting", "running", "answered", "failed", "cut off"]:
        """How far it is."""
        if self.seconds is not None:
            return call_status(self.error)
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

    def mark_started(self) -> None:
        """Note that it is asked, perhaps again."""
        self.started, self.seconds, self.error, self.tokens = perf_counter(), None, None, None
        self.recent_text, self.chunk_count, self.message_id = "", 0, None

    def record_proposal(self, proposal: Proposal) -> None:
        """Take in what came of it."""
        usage = proposal["usage"]
        self.seconds, self.error = proposal["seconds"], proposal["error"]
        self.tokens = usage["output_tokens"] if usage and not proposal.get("cached") else None


@dataclass(frozen=True)
class RunProgress:
    """The agents of a run, layer by layer, the aggregator last."""

    layers: Sequence[Sequence[AgentProgress]]
    policies: Sequence[LayerPolicy]
    """What each layer of proposers needs."""
    nodes: Mapping[str, AgentProgress]
    stored_nodes: set[str]
    """Nodes whose results an earlier process received: LangGraph reports the start, but not the
    end, of their tasks."""

    @classmethod
    def from_graph(cls, graph: CompiledMoA, policies: Sequence[LayerPolicy]) -> Self:
        """Begin with nothing done."""
        nodes = graph.builder.nodes.items()
        models = {name: m for name, node in nodes if (m := (node.metadata or {}).get("model"))}
        rows = {
            node: AgentProgress(*_parse_node_name(node, len(policies)), model)
            for node, model in models.items()
        }
        numbers = range(1, len(policies) + 2)
        layers = [[row for row in rows.values() if row.layer == number] for number in numbers]
        return cls(layers, policies, rows, set())

    def load_stored(self, proposals: Mapping[str, Proposal], stored: Collection[str]) -> None:
        """Take in what an earlier process had received."""
        self.stored_nodes.update(stored)
        for node, proposal in proposals.items():
            if node in self.nodes:
                self.nodes[node].record_proposal(proposal)

    def update(self, event: Mapping[str, Any]) -> AgentProgress | None:
        """Take in an event of `stream_mode="tasks"`, and give the row that it changed."""
        node = event["name"]
        if not (row := self.nodes.get(node)):
            return None
        if "input" in event and node in self.stored_nodes:
            self.stored_nodes.discard(node)
            return None
        result = event.get("result") or {}
        if "input" in event:
            row.mark_started()
        elif proposal := result.get("proposals", {}).get(node):
            row.record_proposal(proposal)
        else:
            row.seconds = row.elapsed(perf_counter())
            row.error = redacted_message(event["error"]) if event["error"] else None
            for message in result.get("messages", ()):
                row.tokens = (message.usage_metadata or {}).get("output_tokens")
        return row

    def add_chunk(self, node: str, message: BaseMessage) -> None:
        """Take in a piece of an answer; one of another message begins anew."""
        row = self.nodes.get(node)
        if not row or row.done or not isinstance(message, AIMessageChunk) or not message.text:
            return
        if row.message_id != message.id:
            row.message_id, row.recent_text, row.chunk_count = message.id, "", 0
        row.chunk_count += 1
        row.recent_text = (row.recent_text + message.text)[-MAX_RECENT_CHARS:]

    def required_answers(self, layer: int) -> int:
        """How many of a layer must answer."""
        rows = self.layers[layer - 1]
        return (
            self.policies[layer - 1].required_answers(len(rows))
            if layer <= len(self.policies)
            else 1
        )


def _parse_node_name(node: str, layers: int) -> tuple[int, str]:
    """Tell the layer and the name of the agent of a node."""
    return parse_node_name(node) or (layers + 1, AGGREGATOR)
