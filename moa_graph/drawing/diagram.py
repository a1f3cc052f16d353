"""What a drawing shows: nodes in boxes, edges, and what a run made of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from langchain_core.runnables import Runnable
from langchain_core.runnables.graph import Graph
from langgraph.graph import END, START, StateGraph

from moa_graph.graph.node_names import (
    AGGREGATOR,
    layer_aggregator_name,
    layer_name,
    parse_node_name,
)
from moa_graph.runs.record import AgentCall, RunRecord

CRITICAL_LEGEND = "what the run waited for"
LEGEND = {"failed": "failed", "cutoff": "cut off", "missing": "not answered or left out"}
"""What the styles of agents mean that gave no answer."""


@dataclass(frozen=True)
class DiagramNode:
    """A node of the drawing."""

    name: str
    """Name of the node in its graph."""
    label: str
    model: str | None = None
    host: str | None = None
    """Which mixture of a host graph it belongs to (`""` where the graph is the mixture); `None`
    if to none."""
    box: str | None = None
    """Title of the box that it stands in."""
    call: AgentCall | None = None
    """What the run made of it."""
    missing_reason: str | None = None
    """Why the run has no call of it."""
    critical: bool = False
    """Whether the run waited for it."""

    @property
    def name_in_host(self) -> str:
        """Its name without those of the graphs that embed it."""
        return self.name.rpartition(":")[2]

    @property
    def kind(self) -> Literal["agent", "layer_aggregator", "other"]:
        """What it is."""
        if self.model is not None:
            return "agent"
        return "other" if self.box is None else "layer_aggregator"


@dataclass(frozen=True)
class Diagram:
    """A graph as it is drawn."""

    nodes: Mapping[str, DiagramNode]
    edges: tuple[tuple[str, str], ...]
    run: RunRecord | None = None

    @property
    def has_critical_path(self) -> bool:
        """Whether an edge is on it."""
        return any(map(self.is_critical_edge, self.edges))

    def is_critical_edge(self, edge: tuple[str, str]) -> bool:
        """Whether an edge is on the critical path of the run."""
        ends = [self.nodes[name] for name in edge]
        return any(n.critical for n in ends) and all(n.critical or n.kind == "other" for n in ends)


def read_diagram(
    graph: StateGraph[Any] | Runnable[Any, Any], run: RunRecord | None = None
) -> Diagram:
    """Read what there is to draw of a graph, and what a run made of it.

    Raises:
        ValueError: If that is no graph, or the run is one of another graph.
    """
    if not isinstance(graph, (StateGraph, Runnable)):
        raise ValueError(  # noqa: TRY004  # as for any other argument
            f"`graph`: expected a graph, compiled or not, got {graph!r}"
        )
    compiled = graph.compile() if isinstance(graph, StateGraph) else graph
    drawable = compiled.get_graph(xray=True)  # type: ignore[call-arg]
    nodes = {name: _parse_node(name, node.metadata) for name, node in drawable.nodes.items()}
    hosts = {node.host for node in nodes.values()}
    for name, node in nodes.items():  # where a mixture inside a host begins and ends
        if node.host is None and (host := name.removesuffix(node.name_in_host)) in hosts:
            nodes[name] = replace(node, host=host, label=f"{host} {node.label}".strip(" :"))
    diagram = Diagram(nodes, _sort_edges(drawable))
    return _attach_run(diagram, run) if run and run.calls else diagram


def build_run_diagram(run: RunRecord) -> Diagram:
    """Draw a mixture as its run shows it, where there is no graph at hand."""
    names = [START, *_nodes_of_run(run), END]
    metadata = {call.node: {"model": call.model} for call in run.calls}
    if run.selected:
        metadata[AGGREGATOR]["aggregation"] = "select"
    nodes = {name: _parse_node(name, metadata.get(name)) for name in names}
    return _attach_run(Diagram(nodes, tuple(_edges_of_run(run))), run)


def _attach_run(diagram: Diagram, run: RunRecord) -> Diagram:
    """Put each call of a run at its node."""
    calls = {call.node: call for call in run.calls}
    matches = {
        host: sum(f"{host}{node}" in diagram.nodes for node in calls)
        for host in {n.host for n in diagram.nodes.values() if n.host is not None}
    }
    host = max(matches, key=lambda host: (matches[host], -len(host)), default="")
    if not matches.get(host):
        raise ValueError(f"`state`: no node of the graph is called {next(iter(calls))!r}")

    def mark(node: DiagramNode) -> DiagramNode:
        call = calls.get(node.name.removeprefix(host)) if node.host == host else None
        if node.host != host:
            return node
        is_passed_aggregator = node.kind == "layer_aggregator" and _continued_after(node, run)
        reason = "left out" if run.answer else "not answered"
        return replace(
            node,
            label=f"{node.label} (selected)" if call and call.selected else node.label,
            call=call,
            missing_reason=reason if node.kind == "agent" and not call else None,
            critical=is_passed_aggregator or bool(call and _led_on(call, run)),
        )

    nodes = {name: mark(node) for name, node in diagram.nodes.items()}
    return replace(diagram, nodes=nodes, run=run)


def _led_on(call: AgentCall, run: RunRecord) -> bool:
    """Whether the run waited for a call; from an aggregator that failed nothing leads on."""
    return call.node in run.critical_path and not (call.node == AGGREGATOR and call.error)


def _continued_after(layer_aggregator: DiagramNode, run: RunRecord) -> bool:
    """Whether the run went on behind a layer aggregator."""
    name = parse_node_name(layer_aggregator.name_in_host)
    return any(call.layer > (name.layer if name else 0) for call in run.calls)


def _parse_node(name: str, metadata: Mapping[str, Any] | None) -> DiagramNode:
    """Read a node's name, and what its metadata tell of it."""
    prefix, colon, name_in_host = name.rpartition(":")
    in_layer = parse_node_name(name_in_host)
    if not in_layer and name_in_host != AGGREGATOR:
        return DiagramNode(name, name_in_host.strip("_"))
    host = f"{prefix}{colon}"
    box, label = (layer_name(in_layer.layer), in_layer.agent) if in_layer else (AGGREGATOR,) * 2
    if in_layer and in_layer.is_layer_aggregator:
        label = "layer aggregator"  # unlike the aggregator, it calls no model
    title = f"{host} {box}".replace("_", " ").strip()
    if (metadata := metadata or {}).get("aggregation") == "select":
        label = f"{label} (selects)"
    return DiagramNode(name, label, metadata.get("model"), host, title)


def _sort_edges(graph: Graph) -> tuple[tuple[str, str], ...]:
    order = {name: place for place, name in enumerate(graph.nodes)}
    pairs = {(edge.source, edge.target) for edge in graph.edges}
    return tuple(sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]])))


def _nodes_of_run(run: RunRecord) -> Iterator[str]:
    for layer in run.layers:
        yield from (call.node for call in layer)
        if layer[0].node != AGGREGATOR:
            yield layer_aggregator_name(layer[0].layer)


def _edges_of_run(run: RunRecord) -> Iterator[tuple[str, str]]:
    source = START
    for layer in run.layers:
        yield from ((source, call.node) for call in layer)
        if layer[0].node == AGGREGATOR:
            yield (AGGREGATOR, END)
            return
        source = layer_aggregator_name(layer[0].layer)
        yield from ((call.node, source) for call in layer)
