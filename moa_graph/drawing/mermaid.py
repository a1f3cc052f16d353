"""Render a diagram as Mermaid text."""

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from moa_graph.drawing.diagram import CRITICAL_LEGEND, LEGEND, NOT_ASKED, Diagram, DiagramNode
from moa_graph.runs.formatting import format_call
from moa_graph.styles.sheets import read_tokens

_TOKENS = read_tokens()
_NODE_STYLES = {
    "agent": ("paper", "accent", "ink", ""),
    "layer_aggregator": ("raise", "edge", "ink", ""),
    "other": ("raise", "edge", "ink", ""),
}
_RUN_STYLES = {
    "failed": ("bad-soft", "bad", "ink", "stroke-width:2px"),
    "cutoff": ("warn-soft", "warn", "ink", "stroke-width:2px,stroke-dasharray:6 4"),
    "missing": ("paper", "edge", "dim", "stroke-dasharray:2 3"),
}
"""Style of each kind of node: color tokens of fill, border and text, and further properties."""

_SKIPPED_STYLE = ("raise", "line", "dim", "")


def render_mermaid(diagram: Diagram) -> str:
    """Return a flowchart with a box for each layer."""
    ids = {name: f"n{number}" for number, name in enumerate(diagram.nodes)}
    styles = _NODE_STYLES | (_RUN_STYLES if diagram.run else {})
    if any(node.missing_reason == NOT_ASKED for node in diagram.nodes.values()):
        styles |= {"skipped": _SKIPPED_STYLE}
    lines = [
        *_declare_nodes(diagram, ids),
        *(_declare_edge(diagram, edge, ids) for edge in diagram.edges),
        *(f"classDef {name} {_write_style(*style)}" for name, style in styles.items()),
        *_critical_path(diagram, ids),
        *_declare_legend(diagram),
    ]
    return "\n".join(["flowchart TD", *(f"    {line}" for line in lines)]) + "\n"


def _write_style(fill: str, stroke: str, color: str, more: str) -> str:
    values = f"fill:{_TOKENS[fill]},stroke:{_TOKENS[stroke]},color:{_TOKENS[color]}"
    return f"{values},{more}" if more else values


def _declare_nodes(diagram: Diagram, ids: dict[str, str]) -> Iterator[str]:
    """Declare the nodes; those of a layer are in its box."""
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
        style = "skipped" if node.missing_reason else node.kind
        return f'{key}("{_escape_label(node.label)}"):::{style}'
    if node.kind == "other":
        return f'{key}(["{_escape_label(node.label)}"]):::other'
    lines = filter(None, [node.model, format_call(node.call) if node.call else node.missing_reason])
    small = "".join(f"<br/><small>{_escape_label(line)}</small>" for line in lines)
    return f'{key}["{_escape_label(node.label)}{small}"]:::{_node_class(node)}'


def _node_class(node: DiagramNode) -> str:
    if node.missing_reason:
        return "skipped" if node.missing_reason == NOT_ASKED else "missing"
    if node.call and node.call.error:
        return "failed" if node.call.status == "failed" else "cutoff"
    return "agent"


def _declare_edge(diagram: Diagram, edge: tuple[str, str], ids: dict[str, str]) -> str:
    """Declare an edge; a dashed edge is optional."""
    arrow = "-.->" if diagram.is_optional_edge(edge) else "-->"
    return f"{ids[edge[0]]} {arrow} {ids[edge[1]]}"


def _critical_path(diagram: Diagram, ids: dict[str, str]) -> Iterator[str]:
    """Draw the critical path with thick lines."""
    if nodes := [ids[name] for name, node in diagram.nodes.items() if node.critical]:
        yield "classDef critical stroke-width:3px"
        yield f"class {','.join(nodes)} critical"
    edges = [str(n) for n, edge in enumerate(diagram.edges) if diagram.is_critical_edge(edge)]
    if edges:
        yield f"linkStyle {','.join(edges)} stroke:{_TOKENS['ink']},stroke-width:3px"


def _declare_legend(diagram: Diagram) -> Iterator[str]:
    """Declare the legend of the styles that occur."""
    classes = {_node_class(node) for node in diagram.nodes.values() if node.kind == "agent"}
    signs = {name: words for name, words in LEGEND.items() if name in classes}
    if diagram.has_critical_path:
        yield f'legend["thick line: {CRITICAL_LEGEND}"]:::other'
    yield from (f'legend_{name}["{words}"]:::{name}' for name, words in signs.items())


def _escape_label(label: str) -> str:
    """Escape a label for Mermaid, which supports entities but no quotes."""
    return escape(label).replace("&quot;", "#quot;").replace("&#x27;", "#39;")
