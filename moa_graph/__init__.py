"""Mixture-of-Agents (Wang et al. 2024, arXiv 2406.04692) as a LangGraph graph."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from moa_graph.version import __version__ as __version__

if TYPE_CHECKING:
    from moa_graph.agents.middleware import MoAMiddleware
    from moa_graph.chat_model.model import ChatMoA
    from moa_graph.config.deployment import deployable
    from moa_graph.config.model import MoAConfig
    from moa_graph.config.tool import moa_tool
    from moa_graph.drawing.draw import draw_mermaid, draw_png, draw_svg
    from moa_graph.errors import MoAError
    from moa_graph.graph.agreement import agreement
    from moa_graph.graph.builder import create_moa
    from moa_graph.graph.clock import ClockError
    from moa_graph.graph.quorum import QuorumError
    from moa_graph.graph.router import Router
    from moa_graph.graph.run_summary import RunSummary
    from moa_graph.graph.state import RETRY, MoAState, Proposal
    from moa_graph.graph.thread_claims import ThreadInUseError
    from moa_graph.graph.turns import Turn, read_turn
    from moa_graph.graph.writer_failures import AggregatorError
    from moa_graph.models.agent import Agent
    from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE
    from moa_graph.run_report.report import report
    from moa_graph.telemetry.traces import OpenTelemetryHandler

_HOMES = {
    "AGGREGATE_AND_SYNTHESIZE": "prompting.layout",
    "Agent": "models.agent",
    "AggregatorError": "graph.writer_failures",
    "ChatMoA": "chat_model.model",
    "ClockError": "graph.clock",
    "MoAConfig": "config.model",
    "MoAError": "errors",
    "MoAMiddleware": "agents.optional",
    "MoAState": "graph.state",
    "OpenTelemetryHandler": "telemetry.traces",
    "Proposal": "graph.state",
    "QuorumError": "graph.quorum",
    "RETRY": "graph.state",
    "Router": "graph.router",
    "RunSummary": "graph.run_summary",
    "ThreadInUseError": "graph.thread_claims",
    "Turn": "graph.turns",
    "agreement": "graph.agreement",
    "create_moa": "graph.builder",
    "deployable": "config.deployment",
    "draw_mermaid": "drawing.draw",
    "draw_png": "drawing.draw",
    "draw_svg": "drawing.draw",
    "moa_tool": "config.tool",
    "read_turn": "graph.turns",
    "report": "run_report.report",
}

__all__ = [
    "AGGREGATE_AND_SYNTHESIZE",
    "RETRY",
    "Agent",
    "AggregatorError",
    "ChatMoA",
    "ClockError",
    "MoAConfig",
    "MoAError",
    "MoAMiddleware",
    "MoAState",
    "OpenTelemetryHandler",
    "Proposal",
    "QuorumError",
    "Router",
    "RunSummary",
    "ThreadInUseError",
    "Turn",
    "agreement",
    "create_moa",
    "deployable",
    "draw_mermaid",
    "draw_png",
    "draw_svg",
    "moa_tool",
    "read_turn",
    "report",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: importing LangGraph takes half a second."""
    if name not in _HOMES:
        from moa_graph.deprecated import rename_export

        name = rename_export(name)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
