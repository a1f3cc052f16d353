"""A diagram as mermaid text."""

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from moa_graph.drawing.diagram import CRITICAL_LEGEND, LEGEND, Diagram, DiagramNode
from moa_graph.runs.formatting import format_call

_NODE_STYLES = {
    "agent": "fill:#eef2ff,stroke:#6366f1,color:#1e1b4b",
    "layer_aggregator": "fill:#fef3c7,stroke:#d97706,color:#451a03",
    "other": "fill:#f1f5f9,stroke:#64748b,color:#0f172a",
}
_RUN_STYLES = {
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#450a0a",
    "cutoff": "fill:#ffedd5,stroke:#ea580c,color:#431407,stroke-dasharray:4 3",
    "missing": "fill:#ffffff,stroke:#94a3b8,color:#64748b,stroke-dasharray:2 3",
}


def render_mermaid(diagram: Diagram) -> str:
    """Write a flowchart with a box for each layer."""
    ids = {name: f"n{number}" for number, name in enumerate(diagram.nodes)}
    styles = _NODE_STYLES | (_RUN_STYLES if diagram.run else {})
    lines = [
        *_declare_nodes(diagram, ids),
        *(f"{ids[source]} --> {ids[target]}" for source, target in diagram.edges),
        *(f"classDef {name} {style}" for name, style in styles.items()),
        *_critical_path(diagram, ids),
        *_declare_legend(diagram),
    ]
    return "\n".join(["flowchart TD", *(f"    {line}" for line in lines)]) + "\n"


def _declare_nodes(diagram: Diagram, ids: dict[str, str]) -> Iterator[str]:
    """Declare the nodes, those of a layer inside its box."""
    boxes: dict[str, list[str]] = defaultdict(list)
    for name, node in diagram.nodes.items():
        if node.box is None:
            yield _declare_node(node, ids[name])
        else:
            boxes[node.box].append(_declare_node(node, ids[name]))
    for number, (title, lines) in enumerate(boxes.items(), 1):
        yield f'subgraph box{number}["{_escape_label(title)}"]'
        yield from (f"    {line}" for line in lines)
        yield "end"


def _declare_node(node: DiagramNode, key: str) -> str:
    if node.kind == "layer_aggregator":
        return f'{key}("{_escape_label(node.label)}"):::layer_aggregator'
    if node.kind == "other":
        return f'{key}(["{_escape_label(node.label)}"]):::other'
    lines = filter(None, [node.model, format_call(node.call) if node.call else node.missing_reason])
    small = "".join(f"<br/><small>{_escape_label(line)}</small>" for line in lines)
    return f'{key}["{_escape_label(node.label)}{small}"]:::{_node_class(node)}'


def _node_class(node: DiagramNode) -> str:
    if node.missing_reason:
        return "missing"
    if node.call and node.call.error:
        return "failed" if node.call.status == "failed" else "cutoff"
    return "agent"


def _critical_path(diagram: Diagram, ids: dict[str, str]) -> Iterator[str]:
    """Draw what the run waited for with thick lines."""
    if nodes := [ids[name] for name, node in diagram.nodes.items() if node.critical]:
        yield "classDef critical stroke-width:3px"
        yield f"class {','.join(nodes)} critical"
    edges = [str(n) for n, edge in enumerate(diagram.edges) if diagram.is_critical_edge(edge)]
    if edges:
        yield f"linkStyle {','.join(edges)} stroke:#0f172a,stroke-width:3px"


def _declare_legend(diagram: Diagram) -> Iterator[str]:
    """Say what thick lines and the styles of nodes mean, as far as they occur."""
    classes = {_node_class(node) for node in diagram.nodes.values() if node.kind == "agent"}
    signs = {name: words for name, words in LEGEND.items() if name in classes}
    if diagram.has_critical_path:
        yield f'legend["thick line: {CRITICAL_LEGEND}"]:::other'
    yield from (f'legend_{name}["{words}"]:::{name}' for name, words in signs.items())


def _escape_label(label: str) -> str:
    """Escape a label for mermaid, which reads entities but not quotes."""
    return escape(label).replace("&quot;", "#quot;").replace("&#x27;", "#39;")
