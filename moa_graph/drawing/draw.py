"""The diagram of a graph, with or without a run on it: mermaid text, SVG and PNG."""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph

from moa_graph.drawing.diagram import Diagram, read_diagram
from moa_graph.drawing.mermaid import render_mermaid
from moa_graph.drawing.svg import render_svg
from moa_graph.models.pricing import Prices
from moa_graph.runs.record import read_run

AnyGraph = StateGraph[Any] | Runnable[Any, Any]


def draw_mermaid(
    graph: AnyGraph, state: Mapping[str, Any] | None = None, *, prices: Prices | None = None
) -> str:
    """Draw a graph as mermaid text, which GitHub and most documentation tools render.

    Args:
        graph: A graph that holds a mixture: what `create_moa` gives, the same compiled, or a
            host graph that embeds it.
        state: What the mixture returned, or the `values` of a `StateSnapshot` of it: then each
            node says what its call took and came to, and the critical path, which is what the
            run waited for, is drawn with thick lines.
        prices: US dollars for a million tokens read and for a million written, by
            `provider:model`; other prices are those that the package `genai-prices` knows.

    Returns:
        A flowchart with a box for each layer.

    Raises:
        ValueError: If the state is not one of the mixture in the graph.
    """
    return render_mermaid(_build_diagram(graph, state, prices))


def draw_svg(
    graph: AnyGraph, state: Mapping[str, Any] | None = None, *, prices: Prices | None = None
) -> str:
    """Draw a graph as SVG, without a browser or a service. Arguments as in `draw_mermaid`."""
    return render_svg(_build_diagram(graph, state, prices))


def draw_png(
    graph: AnyGraph, state: Mapping[str, Any] | None = None, *, prices: Prices | None = None
) -> bytes:
    """Draw a graph as PNG, without a browser or a service. Arguments as in `draw_mermaid`.

    Raises:
        ImportError: If the extra `report` is not installed.
        ValueError: If the state is not one of the mixture in the graph.
    """
    from moa_graph.drawing.png import render_png  # noqa: PLC0415  # an extra

    return render_png(draw_svg(graph, state, prices=prices))


def _build_diagram(
    graph: AnyGraph, state: Mapping[str, Any] | None, prices: Prices | None
) -> Diagram:
    run = read_run(state, prices=prices) if state else None
    return read_diagram(graph, run)
