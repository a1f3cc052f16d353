"""`draw_mermaid`, `draw_svg` and `draw_png`: the diagram of a graph or a run."""

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
    """Draw a graph as Mermaid text, which GitHub and most documentation tools render.

    Args:
        graph: A graph with a mixture: a builder that `create_moa` returned, a compiled mixture, or
            a host graph that embeds one.
        state: Result of a run, or the `values` of a `StateSnapshot`. Each node then shows the
            seconds, tokens and cost of its call, and thick lines mark the critical path, which is
            the chain of calls that the run waited for.
        prices: US dollars for a million tokens read and a million written, by `provider:model`;
            other prices come from the package `genai-prices`.

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
    from moa_graph.drawing.png import render_png

    return render_png(draw_svg(graph, state, prices=prices))


def _build_diagram(
    graph: AnyGraph, state: Mapping[str, Any] | None, prices: Prices | None
) -> Diagram:
    run = read_run(state, prices=prices) if state else None
    return read_diagram(graph, run)
