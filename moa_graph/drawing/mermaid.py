"""A diagram as mermaid text."""

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from moa_graph.drawing.diagram import Diagram, Node
from moa_graph.runs.formatting import say_call

_STYLES = {
    "agent": "fill:#eef2ff,stroke:#6366f1,color:#1e1b4b",
    "hub": "fill:#fef3c7,stroke:#d97706,color:#451a03",
    "other": "fill:#f1f5f9,stroke:#64748b,color:#0f172a",
}
_STYLES_OF_RUNS = {
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#450a0a",
    "cutoff": "fill:#ffedd5,stroke:#ea580c,color:#431407,stroke-dasharray:4 3",
    "missing": "fill:#ffffff,stroke:#94a3b8,color:#64748b,stroke-dasharray:2 3",
}


def mermaid(diagram: Diagram) -> str:
    """Write a flowchart with a box for each layer."""
    ids = {name: f"n{number}" for number, name in enumerate(diagram.nodes)}
    styles = _STYLES | (_STYLES_OF_RUNS if diagram.run else {})
    lines = [
        *_nodes(diagram, ids),
        *(f"{ids[source]} --> {ids[target]}" for source, target in diagram.edges),
        *(f"classDef {name} {style}" for name, style in styles.items()),
        *_critical_path(diagram, ids),
    ]
    return "\n".join(["flowchart TD", *(f"    {line}" for line in lines)]) + "\n"


def _nodes(diagram: Diagram, ids: dict[str, str]) -> Iterator[str]:
    """Declare the nodes, those of a layer inside its box."""
    boxes: dict[str, list[str]] = defaultdict(list)
    for name, node in diagram.nodes.items():
        if node.box is None:
            yield _node(node, ids[name])
        else:
            boxes[node.box].append(_node(node, ids[name]))
    for number, (title, lines) in enumerate(boxes.items(), 1):
        yield f'subgraph box{number}["{_text(title)}"]'
        yield from (f"    {line}" for line in lines)
        yield "end"


def _node(node: Node, key: str) -> str:
    if node.kind == "hub":
        return f'{key}("{_text(node.label)}"):::hub'
    if node.kind == "other":
        return f'{key}(["{_text(node.label)}"]):::other'
    lines = filter(None, [node.model, say_call(node.call) if node.call else node.missing])
    small = "".join(f"<br/><small>{_text(line)}</small>" for line in lines)
    return f'{key}["{_text(node.label)}{small}"]:::{_style(node)}'


def _style(node: Node) -> str:
    if node.missing:
        return "missing"
    if node.call and node.call.error:
        return "failed" if node.call.status == "failed" else "cutoff"
    return "agent"


def _critical_path(diagram: Diagram, ids: dict[str, str]) -> Iterator[str]:
    """Draw what the run waited for with thick lines."""
    if nodes := [ids[name] for name, node in diagram.nodes.items() if node.critical]:
        yield "classDef critical stroke-width:3px"
        yield f"class {','.join(nodes)} critical"
    edges = [str(n) for n, edge in enumerate(diagram.edges) if diagram.waited_for(edge)]
    if edges:
        yield f"linkStyle {','.join(edges)} stroke:#dc2626,stroke-width:3px"


def _text(label: str) -> str:
    """Escape a label for mermaid, which reads entities but not quotes."""
    return escape(label).replace("&quot;", "#quot;").replace("&#x27;", "#39;")
