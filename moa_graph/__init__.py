"""Mixture-of-Agents (Wang et al. 2024, arXiv 2406.04692) as a LangGraph graph."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moa_graph.aggregators import AggregatorError
    from moa_graph.chat_model import ChatMoA
    from moa_graph.config import MoAConfig
    from moa_graph.deployment import deployable
    from moa_graph.drawing import draw_mermaid, draw_png, draw_svg
    from moa_graph.graph import create_moa
    from moa_graph.models import Agent
    from moa_graph.prompts import AGGREGATE_AND_SYNTHESIZE
    from moa_graph.quorum import QuorumError
    from moa_graph.reporting import report
    from moa_graph.state import ASK_AGAIN, MoAState, Proposal
    from moa_graph.turns import Turn, read_turn

_HOMES = {
    "AGGREGATE_AND_SYNTHESIZE": "prompts",
    "ASK_AGAIN": "state",
    "Agent": "models",
    "AggregatorError": "aggregators",
    "ChatMoA": "chat_model",
    "MoAConfig": "config",
    "MoAState": "state",
    "Proposal": "state",
    "QuorumError": "quorum",
    "Turn": "turns",
    "create_moa": "graph",
    "deployable": "deployment",
    "draw_mermaid": "drawing",
    "draw_png": "drawing",
    "draw_svg": "drawing",
    "read_turn": "turns",
    "report": "reporting",
}

__all__ = [
    "AGGREGATE_AND_SYNTHESIZE",
    "ASK_AGAIN",
    "Agent",
    "AggregatorError",
    "ChatMoA",
    "MoAConfig",
    "MoAState",
    "Proposal",
    "QuorumError",
    "Turn",
    "create_moa",
    "deployable",
    "draw_mermaid",
    "draw_png",
    "draw_svg",
    "read_turn",
    "report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: LangGraph alone takes half a second."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
