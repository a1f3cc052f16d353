"""Build the models of a graph once, at the first use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from langchain_core.runnables import Runnable

from moa_graph.graph.spec import AgentNode, BuildModels, hedge_key
from moa_graph.models.agent import build_model


def build_own_models(agent_nodes: Sequence[AgentNode]) -> BuildModels:
    """Return a builder for the models of some agents, separate from those of the graph."""
    return ModelBuilder(agent_nodes)


@dataclass(frozen=True)
class ModelsOf:
    """Builds the models of another node for a node."""

    build_models: BuildModels
    source: str
    node: str

    def __call__(self) -> Mapping[str, Runnable[Any, Any]]:
        """Build the models."""
        models = self.build_models()
        names = {self.node: self.source, hedge_key(self.node): hedge_key(self.source)}
        return {name: models[source] for name, source in names.items() if source in models}


class ModelBuilder:
    """Builds the models of a graph once; a copy in another process builds its own."""

    def __init__(self, agent_nodes: Sequence[AgentNode], *, keep_reasoning: bool = False) -> None:
        self._agent_nodes, self._keep_reasoning = agent_nodes, keep_reasoning

    def __call__(self) -> Mapping[str, Runnable[Any, Any]]:
        """Return the models, keyed by node."""
        return self._models

    @cached_property
    def _models(self) -> dict[str, Runnable[Any, Any]]:
        # Importing LangChain's chat models is slow, so only when one is built.
        from moa_graph.models.adapt import adapt_model, keep_reasoning

        models = {
            each.node: adapt_model(build_model(each.agent), hidden=each.hide_tokens)
            for each in self._agent_nodes
        }
        for each in self._agent_nodes:
            if each.agent.hedge is not None:
                model = build_model(each.agent, retries=False)
                models[hedge_key(each.node)] = adapt_model(model, hidden=each.hide_tokens)
        if self._keep_reasoning:
            for each in filter(lambda each: each.is_proposer, self._agent_nodes):
                for key in {each.node, hedge_key(each.node)} & models.keys():
                    keep_reasoning(models[key])
        return models

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), keep_reasoning=self._keep_reasoning), (self._agent_nodes,)
