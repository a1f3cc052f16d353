"""The diagram of a graph: a box a layer, with its proposers and its hub."""

import re
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from typing import Any

from langchain_core.runnables import Runnable
from langchain_core.runnables.graph import Graph, Node
from langgraph.graph import StateGraph

_NODE = re.compile(r"(?P<host>.*:)?(?:(?P<layer>layer_\d+)_(?P<agent>.+)|(?P<last>aggregator))")
_STYLES = (
    "classDef agent fill:#eef2ff,stroke:#6366f1,color:#1e1b4b",
    "classDef hub fill:#fef3c7,stroke:#d97706,color:#451a03",
    "classDef other fill:#f1f5f9,stroke:#64748b,color:#0f172a",
)


def draw_mermaid(graph: StateGraph[Any] | Runnable[Any, Any]) -> str:
    """Draw a graph as mermaid text, which GitHub and most documentation tools render.

    Args:
        graph: A graph that holds a mixture: what `create_moa` gives, the same compiled, or a
            host graph that embeds it.

    Returns:
        A flowchart with a box for each layer.
    """
    compiled = graph.compile() if isinstance(graph, StateGraph) else graph
    drawable = compiled.get_graph(xray=True)  # type: ignore[call-arg]
    ids = {name: f"n{number}" for number, name in enumerate(drawable.nodes)}
    lines = ["flowchart TD", *_nodes(drawable, ids), *_edges(drawable, ids), *_STYLES]
    return "\n".join([lines[0], *(f"    {line}" for line in lines[1:])]) + "\n"


def _nodes(graph: Graph, ids: dict[str, str]) -> Iterable[str]:
    """Declare the nodes, those of a layer inside its box."""
    boxes: dict[str, list[str]] = defaultdict(list)
    for name, node in graph.nodes.items():
        if match := _NODE.fullmatch(name):
            title = f"{match['host'] or ''} {match['layer'] or match['last']}".replace("_", " ")
            boxes[title.strip()].append(_node(node, ids[name], match["agent"] or match["last"]))
        else:
            yield _node(node, ids[name], name.rpartition(":")[2])
    for number, (title, lines) in enumerate(boxes.items(), 1):
        yield f'subgraph box{number}["{_text(title)}"]'
        yield from (f"    {line}" for line in lines)
        yield "end"


def _node(node: Node, key: str, label: str) -> str:
    model = (node.metadata or {}).get("model")
    if model:
        return f'{key}["{_text(label)}<br/><small>{_text(model)}</small>"]:::agent'
    if label == "aggregator":
        return f'{key}("{_text(label)}"):::hub'
    return f'{key}(["{_text(label.strip("_"))}"]):::other'


def _edges(graph: Graph, ids: dict[str, str]) -> Iterable[str]:
    order = {name: place for place, name in enumerate(ids)}
    edges = sorted((order[edge.source], order[edge.target], edge) for edge in graph.edges)
    return (f"{ids[edge.source]} --> {ids[edge.target]}" for *_, edge in edges)


def _text(label: str) -> str:
    """Escape a label for mermaid, which reads entities but not quotes."""
    return escape(label).replace("&quot;", "#quot;").replace("&#x27;", "#39;")
