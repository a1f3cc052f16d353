"""How fast endpoints are asked: so many requests and tokens a minute.

A call waits for its turn before its clock starts: neither its timeout nor its layer's grace runs.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, cast

from langchain_core.runnables import RunnableConfig

from moa_graph.config.model import MoAConfig
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.builder import MoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.proposer import NodeRunnable
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import is_free_model
from moa_graph.prompting.tokens import count_message_tokens

BURST_SECONDS = 1.0  # seconds: providers look at shorter times than a minute, too

Rates = Mapping[str | None, float]
"""What a minute may hold, by model (`provider:model`) or endpoint; `None` is any endpoint."""


class RateLimiter:
    """Lets no more through than so many units in any minute, evenly, and in the order of arrival.

    Args:
        a_minute: How many units.
    """

    def __init__(self, per_minute: float) -> None:
        self._seconds_per_unit = (60 + BURST_SECONDS) / per_minute
        self._next_free_at, self._lock = -inf, asyncio.Lock()

    async def acquire(self, units: float) -> None:
        """Wait for the turn, and take so many units, which those behind wait for."""
        async with self._lock:
            while (wait := self._next_free_at - monotonic()) > 0:  # noqa: ASYNC110  # it may be corrected
                await asyncio.sleep(wait)
            self._next_free_at = (
                max(self._next_free_at, monotonic() - BURST_SECONDS)
                + units * self._seconds_per_unit
            )

    def adjust(self, units: float) -> None:
        """Take so many units more, or less than none: it turned out so afterwards."""
        self._next_free_at += units * self._seconds_per_unit


def endpoint_of(agent: Agent) -> str:
    """Say who is asked: an agent's `base_url`, or its provider."""
    return agent.base_url or agent.label.partition(":")[0]


@dataclass
class RateLimits:
    """What the endpoints of a mixture can take; all its runs share it."""

    requests: Rates = field(default_factory=dict)
    tokens: Rates = field(default_factory=dict)
    _limiters: dict[tuple[str, str], RateLimiter] = field(default_factory=dict)

    def limit_agents(self, builder: MoAGraph) -> None:
        """Have the agents of a graph that is not yet compiled wait for their turn."""
        for node, spec in builder.nodes.items():
            if (agent_node := builder.spec.find_agent_node(node)) is None or is_free_model(
                agent_node.agent.label
            ):
                continue
            requests = self._limiter_for("requests", self.requests, agent_node.agent)
            tokens = self._limiter_for("tokens", self.tokens, agent_node.agent)
            if requests or tokens:
                bound = cast("NodeRunnable", spec.runnable)
                spec.runnable = RateLimitedNode(node, bound, requests, tokens)

    def share_per_process(self, processes: int) -> "RateLimits":
        """Give what each of several processes may use."""
        return RateLimits(
            {name: rate / processes for name, rate in self.requests.items()},
            {name: rate / processes for name, rate in self.tokens.items()},
        )

    def _limiter_for(self, kind: str, rates: Rates, agent: Agent) -> RateLimiter | None:
        for name in (agent.label, endpoint_of(agent), None):
            if name in rates:
                key = kind, name or endpoint_of(agent)
                return self._limiters.setdefault(key, RateLimiter(rates[name]))
        return None


NO_RATE_LIMITS = RateLimits()


class RateLimitedNode(NodeRunnable):
    """A node that waits for its turn; async only.

    How many tokens a call takes is known afterwards: before, it is taken to be what the last one
    of this node took.
    """

    def __init__(
        self,
        node: str,
        bound: NodeRunnable,
        requests: RateLimiter | None,
        tokens: RateLimiter | None,
    ) -> None:
        super().__init__(bound.invoke)
        self._node, self._bound, self._requests, self._tokens = node, bound, requests, tokens
        self._last_total_tokens: int | None = None

    def with_cache(self, cache: CacheBackend) -> NodeRunnable:
        """Copy it for a graph that is compiled with a cache."""
        bound = self._bound.with_cache(cache)
        return RateLimitedNode(self._node, bound, self._requests, self._tokens)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Refuse.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            f"`{self._node}`: its limits are kept by waiting on an event loop; expected an async "
            "run, such as `ainvoke`, got a sync one"
        )

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Wait for the turn, then run the node."""
        expected = self._last_total_tokens or count_message_tokens(input["messages"])
        if self._requests:
            await self._requests.acquire(1)
        if self._tokens:
            await self._tokens.acquire(expected)
        output = await self._bound.ainvoke(input, config)
        if _was_hedged(self._node, output):  # the second request could not wait for its turn
            for limiter, units in ((self._requests, 1), (self._tokens, expected)):
                if limiter:
                    limiter.adjust(units)
        if self._tokens and (usage := _read_usage(self._node, output)):
            self._last_total_tokens = usage["total_tokens"]
            self._tokens.adjust(self._last_total_tokens - expected)
        return output


def _was_hedged(node: str, output: Mapping[str, Any]) -> bool:
    if node == AGGREGATOR:
        return node in output["messages"][-1].response_metadata["moa"].get("hedged", ())
    return bool(output["proposals"][node].get("hedged"))


def _read_usage(node: str, output: Mapping[str, Any]) -> dict[str, Any] | None:
    usage: dict[str, Any] | None
    if node == AGGREGATOR:
        usage = output["messages"][-1].response_metadata["moa"]["aggregator_usage"]
    else:
        usage = output["proposals"][node]["usage"]
    return usage


def parse_rates(option: str, values: Sequence[str], mixture: MoAConfig) -> Rates:
    """Read the values of an option: `500`, `openai=500`, `openai:gpt-4o=30`, `http://…=60`.

    Raises:
        ValueError: If one is no number, or names neither a model nor an endpoint.
    """
    expected_names = _names_with_rates(mixture)
    rates = dict[str | None, float]()
    for value in values:
        name, _, number = value.rpartition("=")
        if name and name not in expected_names:
            raise ValueError(
                f"{option} {value}: expected one of {', '.join(expected_names)}, got {name!r}"
            )
        rates[name or None] = _parse_rate(option, value, number)
    return rates


def _names_with_rates(mixture: MoAConfig) -> Sequence[str]:
    """Name the endpoints and models of a mixture."""
    proposers = (agent for layer in mixture.layers for agent in layer.values())
    agents = (*proposers, mixture.aggregator)
    return sorted({name for agent in agents for name in (endpoint_of(agent), agent.label)})


def _parse_rate(option: str, value: str, number: str) -> float:
    with suppress(ValueError):
        if 0 < (rate := float(number)) < inf:
            return rate
    raise ValueError(f"{option} {value}: expected a number above 0, got {number!r}")
