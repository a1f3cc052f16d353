"""Single models that are served beside mixtures, for small tasks of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from moa_graph.config.model import MoAConfig, Name, NamedAgent
from moa_graph.graph.options import NO_LAYERS

if TYPE_CHECKING:
    from moa_graph.chat_model.model import ChatMoA
    from moa_graph.graph.builder import MoAGraph


class SingleModel(MoAConfig):
    """A single model under its own name: an aggregator without proposers."""

    layers: list[dict[Name, NamedAgent]] = Field(default=[], max_length=0)
    """Fallbacks: always empty."""

    def graph(self, **options: Any) -> MoAGraph:
        """Create the graph; see `MoAConfig.graph`."""
        return super().graph(**{"layers": NO_LAYERS} | options)

    def chat_model(self, **options: Any) -> ChatMoA:
        """Create the chat model; see `MoAConfig.chat_model`."""
        alone = {"layers": NO_LAYERS, "consult": "every_call"}
        return super().chat_model(**alone | options)
