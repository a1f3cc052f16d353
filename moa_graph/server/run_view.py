"""The picture of a run, as the page draws it: one cell for each agent, live or from a state."""

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from time import time
from typing import Any

from langchain_core.messages import HumanMessage

from moa_graph.config.model import MoAConfig
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.prompting.parsing import replace_surrogates
from moa_graph.prompting.tokens import count_bytes, count_tokens_of_bytes
from moa_graph.redaction import redacted_message
from moa_graph.runs.record import AgentCall, RunRecord, read_run
from moa_graph.runs.store import CompiledMoA

JsonObject = dict[str, Any]

_JSON_FIELDS = (
    *("node", "layer", "agent", "model", "status", "error", "seconds", "read", "written", "cost"),
    "critical",
)


@dataclass
class AgentView:
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
    message_id: str = ""
    """Id of the message that is coming."""
    _chunks: list[str] = field(default_factory=list, repr=False)
    _byte_count: int = 0

    @property
    def text(self) -> str:
        """What it has written, put together when somebody looks: it comes in many pieces."""
        if len(self._chunks) > 1:
            self._chunks = ["".join(self._chunks)]
        return self._chunks[0] if self._chunks else ""

    def reset(self, status: str) -> None:
        """Forget what it has done."""
        self.status, self.error, self.critical, self.message_id = status, None, False, ""
        self.started = self.seconds = self.read = self.written = self.cost = None
        self.replace_text("")

    def replace_text(self, text: str) -> None:
        """Put another text in the place of its text."""
        if text != self.text:
            self._chunks, self._byte_count, self.rewrites = (
                [text],
                count_bytes(text),
                self.rewrites + 1,
            )

    def add_chunk(self, message: str, token: str) -> None:
        """Take in a piece of its answer; that of another message begins anew: a fallback's."""
        if message != self.message_id:
            self.message_id = message
            self.replace_text("")
        self._chunks.append(chunk := replace_surrogates(token))
        self._byte_count += count_bytes(chunk)
        self.written = count_tokens_of_bytes(self._byte_count)

    def apply_call(self, call: AgentCall) -> None:
        """Take in a call that is over."""
        self.status, self.error = call.status, call.error
        self.model, self.started, self.seconds = call.model, call.started, call.seconds
        self.read = call.usage["input_tokens"] if call.usage else None
        self.written = call.usage["output_tokens"] if call.usage else None
        self.cost = call.cost
        self.replace_text(call.text)

    def as_json(self) -> JsonObject:
        """Give it without its text."""
        cell = {name: getattr(self, name) for name in _JSON_FIELDS}
        if self.status == "running" and self.started:
            cell["seconds"] = round(time() - self.started, 3)
        return cell


class RunView:
    """The cells of a mixture, in order; the aggregator's is the last."""

    def __init__(self, graph: CompiledMoA, mixture: MoAConfig) -> None:
        self._prices = mixture.prices
        self.agents = {
            cell.node: cell for cell in _build_agent_views(graph, len(mixture.layers) + 1)
        }
        self._stored_nodes: set[str] = set()

    @property
    def nodes(self) -> Collection[str]:
        """The names of the cells."""
        return self.agents.keys()

    def show_state(self, values: Mapping[str, Any], next_nodes: Collection[str]) -> RunRecord:
        """Show a state: `values` as `present_values` gives them, and the nodes that come next."""
        run = read_run(values, prices=self._prices, order=self.nodes)
        reached = max((call.layer for call in run.calls), default=1)
        calls = {call.node: call for call in run.calls}
        for node, cell in self.agents.items():
            if node in calls:
                cell.apply_call(calls[node])
                cell.critical = run.answer is not None and node in run.critical_path
            else:
                is_dropped = cell.layer <= reached and node not in next_nodes and bool(calls)
                cell.reset("dropped" if is_dropped and node != AGGREGATOR else "waiting")
        return run

    def set_stored_nodes(self, nodes: Collection[str]) -> None:
        """Name the nodes whose results an earlier run has stored.

        LangGraph reports the start, but not the end, of such tasks.
        """
        self._stored_nodes = set(nodes)

    def add_chunk(self, message: Any, metadata: Mapping[str, Any]) -> None:
        """Take in an event of `stream_mode="messages"`."""
        cell = self.agents.get(metadata["langgraph_node"])
        if cell and cell.status == "running" and message.text:
            cell.add_chunk(message.id or "", message.text)

    def update(self, event: Mapping[str, Any]) -> None:
        """Take in an event of `stream_mode="tasks"`."""
        if not (cell := self.agents.get(event["name"])):
            return
        if "input" not in event:
            self._apply_result(cell, event)
        elif cell.node in self._stored_nodes:
            self._stored_nodes.discard(cell.node)
        else:
            cell.reset("running")
            cell.started = time()

    def mark_stopped(self) -> None:
        """Note that nobody is asked any more."""
        for cell in self.agents.values():
            if cell.status == "running":
                cell.reset("waiting")

    def collect_changes(self, sent: MutableMapping[str, JsonObject]) -> list[JsonObject]:
        """Give what has changed since the last call with the same `sent`, and note it there.

        A cell comes whole, but of a text that only grew what it grew by (`more`).
        """
        changed = []
        for node, cell in self.agents.items():
            current = {
                **_without_running_seconds(cell.as_json()),
                "rewrites": cell.rewrites,
                "length": len(cell.text),
            }
            previous = sent.get(node, {"rewrites": None, "length": 0})
            if current != previous:
                is_rewritten = current["rewrites"] != previous["rewrites"]
                text = (
                    {"text": cell.text}
                    if is_rewritten
                    else {"more": cell.text[previous["length"] :]}
                )
                changed.append(cell.as_json() | text)
            sent[node] = current
        return changed

    def as_json(self) -> list[JsonObject]:
        """Give all cells with their texts."""
        return [cell.as_json() | {"text": cell.text} for cell in self.agents.values()]

    def _apply_result(self, cell: AgentView, event: Mapping[str, Any]) -> None:
        result = event["result"] or {}
        if proposal := result.get("proposals", {}).get(cell.node):
            question = HumanMessage("", id=proposal["turn"])
            result = {"messages": [question], "proposals": {cell.node: proposal}}
        if result.get("messages"):
            cell.apply_call(read_run(result, prices=self._prices).calls[-1])
        elif event["error"]:
            cell.reset("failed")
            cell.error = redacted_message(event["error"])


def _build_agent_views(graph: CompiledMoA, last: int) -> list[AgentView]:
    cells = []
    for node, spec in graph.builder.nodes.items():
        model = (spec.metadata or {}).get("model")
        if model and (name := parse_node_name(node)):
            cells.append(AgentView(node, name.layer, name.agent, model))
        elif node == AGGREGATOR:
            cells.append(AgentView(node, last, AGGREGATOR, model or ""))
    return cells


def _without_running_seconds(cell: JsonObject) -> JsonObject:
    """Leave out the seconds of a running call: they change all the time."""
    return cell | {"seconds": None} if cell["status"] == "running" else cell
