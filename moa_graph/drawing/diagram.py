"""The diagram of a graph or a run: nodes in boxes, edges, and figures of the run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from langchain_core.runnables import Runnable
from langchain_core.runnables.graph import Graph
from langgraph.graph import StateGraph

from moa_graph.graph.depth import RunDepth
from moa_graph.graph.node_names import (
    AGGREGATOR,
    ROUTER,
    VOTES,
    layer_name,
    parse_helper_role,
    parse_node_name,
)
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord

NOT_ASKED = "not asked"
"""Why a run has no call of an agent in a layer that did not run."""
CRITICAL_LEGEND = "what the run waited for"
LEGEND = {
    "failed": "failed",
    "cutoff": "cut off",
    "missing": "not answered or left out",
    "skipped": "not asked",
}
"""Legend of the styles of agents without an answer."""


@dataclass(frozen=True)
class DiagramNode:
    """A node of the diagram."""

    name: str
    """Name of the node in its graph."""
    label: str
    model: str | None = None
    host: str | None = None
    """Its mixture in a host graph (`""` if the graph is the mixture); `None` for other nodes."""
    box: str | None = None
    """Title of its box."""
    call: AgentCall | None = None
    """Its call in the run."""
    missing_reason: str | None = None
    """Why the run has no call of the node."""
    critical: bool = False
    """Whether the node is on the critical path."""

    @property
    def name_in_host(self) -> str:
        """Name of the node without the names of host graphs."""
        return self.name.rpartition(":")[2]

    @property
    def layer(self) -> int:
        """Number of its layer, from 1; 0 for other nodes."""
        name = parse_node_name(self.name_in_host)
        return name.layer if name else 0

    @property
    def kind(self) -> Literal["agent", "layer_aggregator", "other"]:
        """Kind of the node."""
        if self.model is not None:
            return "agent"
        return "other" if self.box is None else "layer_aggregator"


@dataclass(frozen=True)
class Diagram:
    """A graph to draw."""

    nodes: Mapping[str, DiagramNode]
    edges: tuple[tuple[str, str], ...]
    run: RunRecord | None = None

    @property
    def has_critical_path(self) -> bool:
        """Whether an edge is on the critical path."""
        return any(map(self.is_critical_edge, self.edges))

    def is_optional_edge(self, edge: tuple[str, str]) -> bool:
        """Return whether an edge skips layers on its way to the aggregator."""
        source, target = (self.nodes[name] for name in edge)
        if source.name_in_host == ROUTER and source.host == target.host:
            return target.name_in_host == AGGREGATOR
        if source.kind != "layer_aggregator" or target.name_in_host != AGGREGATOR:
            return False
        layer = source.layer
        return any(n.host == source.host and n.layer > layer for n in self.nodes.values())

    def is_critical_edge(self, edge: tuple[str, str]) -> bool:
        """Return whether an edge is on the critical path of the run."""
        ends = [self.nodes[name] for name in edge]
        return any(n.critical for n in ends) and all(n.critical or n.kind == "other" for n in ends)


def read_diagram(
    graph: StateGraph[Any] | Runnable[Any, Any], run: RunRecord | None = None
) -> Diagram:
    """Build the diagram of a graph, with the calls of a run.

    Raises:
        ValueError: If it is not a graph, or the run belongs to another graph.
    """
    if not isinstance(graph, (StateGraph, Runnable)):
        raise ValueError(  # noqa: TRY004  # as for any other argument
            f"`graph`: expected a graph, compiled or not, got {graph!r}"
        )
    compiled = graph.compile() if isinstance(graph, StateGraph) else graph
    drawable = compiled.get_graph(xray=True)  # type: ignore[call-arg]
    nodes = {name: _parse_node(name, node.metadata) for name, node in drawable.nodes.items()}
    hosts = {node.host for node in nodes.values()}
    for name, node in nodes.items():  # start and end of a mixture in a host
        if node.host is None and (host := name.removesuffix(node.name_in_host)) in hosts:
            nodes[name] = replace(node, host=host, label=f"{host} {node.label}".strip(" :"))
    diagram = Diagram(nodes, _sort_edges(drawable))
    return _attach_run(diagram, run) if run and run.calls else diagram


def _attach_run(diagram: Diagram, run: RunRecord) -> Diagram:
    """Add the calls of a run to their nodes."""
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
        is_missing = node.kind == "agent" and not call
        is_skipped = bool(run.depth and _was_passed(node, run.depth))
        reason = NOT_ASKED if is_skipped else "left out" if run.answer else "not answered"
        return replace(
            node,
            label=f"{node.label} (selected)" if call and call.selected else node.label,
            call=call,
            missing_reason=reason if is_missing or is_skipped else None,
            critical=is_passed_aggregator or bool(call and _led_on(call, run)),
        )

    nodes = {name: mark(node) for name, node in diagram.nodes.items()}
    return replace(diagram, nodes=nodes, run=run)


def _was_passed(node: DiagramNode, depth: RunDepth) -> bool:
    """Return whether the run skipped a node on its way to the aggregator."""
    is_helper = parse_helper_role(node.name_in_host) is not None
    return node.layer > depth["layers"] or (is_helper and depth["layers"] < depth["of"])


def _led_on(call: AgentCall, run: RunRecord) -> bool:
    """Return whether a call is on the critical path; a failed aggregator ends it."""
    return call.node in run.critical_path and not (call.node == AGGREGATOR and call.error)


def _continued_after(layer_aggregator: DiagramNode, run: RunRecord) -> bool:
    """Return whether the run continued after a layer aggregator."""
    if not (name := parse_node_name(layer_aggregator.name_in_host)):
        return run.answer is not None
    return any(call.layer > name.layer for call in run.calls)


def _parse_node(name: str, metadata: Mapping[str, Any] | None) -> DiagramNode:
    """Create a node from its name and metadata."""
    prefix, colon, name_in_host = name.rpartition(":")
    in_layer = parse_node_name(name_in_host)
    in_box = (metadata := metadata or {}).get("box")
    if name_in_host == ROUTER and (routes := metadata.get("routes")):
        return DiagramNode(name, f"router, {routes}")
    if not (in_layer or in_box or name_in_host == AGGREGATOR):
        return DiagramNode(name, name_in_host.strip("_"))
    host = f"{prefix}{colon}"
    box, label = (in_box or AGGREGATOR, name_in_host.replace("_", " "))
    if in_layer:
        box, label = layer_name(in_layer.layer), in_layer.agent
    if in_layer and in_layer.is_layer_aggregator:
        label = "layer aggregator"  # no model call, unlike the aggregator
    title = f"{host} {box}".replace("_", " ").strip()
    if name_in_host == VOTES:
        label = "ballot count"
    if metadata.get("aggregation") == "select":
        label = f"{label} (selects)"
    elif metadata.get("aggregation") == "win":
        label = f"{label} (the winner)"
    return DiagramNode(name, label, metadata.get("model"), host, title)


def _sort_edges(graph: Graph) -> tuple[tuple[str, str], ...]:
    order = {name: place for place, name in enumerate(graph.nodes)}
    pairs = {(edge.source, edge.target) for edge in graph.edges}
    return tuple(sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]])))
