"""Context lengths of mixtures for `/v1/models`."""

import asyncio
from collections.abc import Iterable, Mapping
from time import monotonic

from moa_graph.config.model import MoAConfig
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.served_context import CONTEXT_TIMEOUT_S, read_contexts
from moa_graph.models.traits import traits_of

ASK_AGAIN_S = 60.0  # seconds until servers are asked again


class ContextLengths:
    """Context lengths of mixtures: the smallest known one of their models."""

    def __init__(self, mixtures: Mapping[str, MoAConfig]) -> None:
        self._agents = {name: list_agents(mixture) for name, mixture in mixtures.items()}
        self._profiles = {
            name: [_read_profile(agent) for agent in agents]
            for name, agents in self._agents.items()
        }
        self._requested_at: float | None = None

    def find(self, name: str) -> int | None:
        """Return the context length of a mixture in tokens; `None` if it is unknown."""
        sizes = map(_find_size, self._agents[name], self._profiles[name])
        return min(filter(None, sizes), default=None)

    async def refresh(self) -> None:
        """Request unknown context lengths from the servers at `base_url`, at most once a minute."""
        if self._requested_at is not None and monotonic() - self._requested_at < ASK_AGAIN_S:
            return
        self._requested_at = monotonic()
        agents = [agent for agents in self._agents.values() for agent in agents]
        if futures := [asyncio.wrap_future(each) for each in read_contexts(agents)]:
            await asyncio.wait(futures, timeout=CONTEXT_TIMEOUT_S)


def list_agents(mixture: MoAConfig) -> list[Agent]:
    """Return all agents of a mixture."""
    proposers: Iterable[Agent] = (agent for layer in mixture.layers for agent in layer.values())
    return [*proposers, mixture.aggregator, *mixture.fallbacks]


def _find_size(agent: Agent, profile: int | None) -> int | None:
    sizes = (agent.max_input_tokens, traits_of(agent).context_tokens)
    return min(filter(None, sizes), default=profile)


def _read_profile(agent: Agent) -> int | None:
    """Return the context length in the model profile of the provider's package."""
    profile = getattr(build_model(agent), "profile", None) or {}
    size: int | None = profile.get("max_input_tokens")
    return size
