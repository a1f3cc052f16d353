"""Rate limits for endpoints: requests and tokens a minute.

A call waits for its turn before its timers start, so neither its timeout nor the grace of its layer
includes the wait.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig

from moa_graph.config.model import MoAConfig
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.builder import MoAGraph
from moa_graph.graph.depth import find_route, is_effective
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import AGGREGATOR, ROUTER
from moa_graph.graph.node_runnable import NodeRunnable
from moa_graph.graph.router import name_decider
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import is_free_model
from moa_graph.prompting.tokens import count_message_tokens

BURST_SECONDS = 1.0  # seconds: providers also enforce limits over shorter times

Rates = Mapping[str | None, float]
"""Limits a minute, by model (`provider:model`) or endpoint; `None` is any endpoint."""


class RateLimiter:
    """Limits the number of units in any minute, evenly and in order of arrival.

    Args:
        a_minute: Units a minute.
    """

    def __init__(self, per_minute: float) -> None:
        self._seconds_per_unit = (60 + BURST_SECONDS) / per_minute
        self._next_free_at, self._lock = -inf, asyncio.Lock()

    async def acquire(self, units: float) -> None:
        """Wait for the turn, and take some units; later callers wait for them."""
        async with self._lock:
            while (wait := self._next_free_at - monotonic()) > 0:  # noqa: ASYNC110  # it may be corrected
                await asyncio.sleep(wait)
            self._next_free_at = (
                max(self._next_free_at, monotonic() - BURST_SECONDS)
                + units * self._seconds_per_unit
            )

    def adjust(self, units: float) -> None:
        """Correct the number of taken units afterwards."""
        self._next_free_at += units * self._seconds_per_unit


def endpoint_of(agent: Agent) -> str:
    """Return the endpoint of an agent: its `base_url`, or its provider."""
    return agent.base_url or _provider_in(agent.label)


def _provider_in(label: str) -> str:
    return label.partition(":")[0]


class CallLimits(NamedTuple):
    """Limiters of a model's calls."""

    requests: RateLimiter | None = None
    tokens: RateLimiter | None = None


LimitsOf = Callable[[Mapping[str, Any]], CallLimits]
"""Returns the limits of the model that a node calls, from the state."""


@dataclass
class RateLimits:
    """Rate limits of a mixture's endpoints, shared by all its runs."""

    requests: Rates = field(default_factory=dict)
    tokens: Rates = field(default_factory=dict)
    _limiters: dict[tuple[str, str], RateLimiter] = field(default_factory=dict)

    def limit_agents(self, builder: MoAGraph) -> None:
        """Make the nodes that call models wait for their turn; the graph is not compiled yet."""
        for node, spec in builder.nodes.items():
            if limits_of := self._limits_of_node(node, builder.spec):
                bound = cast("NodeRunnable", spec.runnable)
                spec.runnable = RateLimitedNode(node, bound, limits_of)

    def _limits_of_node(self, node: str, spec: GraphSpec) -> LimitsOf | None:
        """Return the limits of a node; `None` if there are none."""
        if node == AGGREGATOR and spec.routes:
            return self._limits_of_routes(spec)
        limits = self._limits_of_model(node, spec)
        return (lambda _: limits) if any(limits) else None

    def _limits_of_model(self, node: str, spec: GraphSpec) -> CallLimits:
        """Return the limits of the single model of a node."""
        if agent_node := spec.find_agent_node(node):
            return self._limits_of_agent(agent_node.agent)
        if node == ROUTER and spec.router:
            if chat_decider := spec.router.chat_decider:
                return self._limits_of_agent(chat_decider.agent)
            return self._limits_for(name_decider(spec.router))
        if node in spec.deciding_nodes:
            return self._limits_for(spec.depth_policy.decider)
        return CallLimits()

    def _limits_of_routes(self, spec: GraphSpec) -> LimitsOf:
        """Return the limits of the aggregator, or of the agent that a router chose."""
        by_route = {name: self._limits_of_agent(each.agent) for name, each in spec.routes.items()}
        behind_layers = self._limits_of_agent(spec.aggregators[0].agent)

        def limits_of(state: Mapping[str, Any]) -> CallLimits:
            decision = find_route(state)
            route = decision.get("route", "") if decision and is_effective(decision) else ""
            return by_route.get(route, behind_layers)

        return limits_of

    def _limits_of_agent(self, agent: Agent) -> CallLimits:
        return self._limits_for(agent.label, endpoint_of(agent))

    def _limits_for(self, label: str | None, endpoint: str | None = None) -> CallLimits:
        if label is None or is_free_model(label):
            return CallLimits()
        endpoint = endpoint or _provider_in(label)
        return CallLimits(
            self._limiter_for("requests", self.requests, label, endpoint),
            self._limiter_for("tokens", self.tokens, label, endpoint),
        )

    def share_per_process(self, processes: int) -> "RateLimits":
        """Divide the limits among several processes."""
        return RateLimits(
            {name: rate / processes for name, rate in self.requests.items()},
            {name: rate / processes for name, rate in self.tokens.items()},
        )

    def _limiter_for(
        self, kind: str, rates: Rates, label: str, endpoint: str
    ) -> RateLimiter | None:
        for name in (label, endpoint, None):
            if name in rates:
                key = kind, name or endpoint
                return self._limiters.setdefault(key, RateLimiter(rates[name]))
        return None


NO_RATE_LIMITS = RateLimits()


class RateLimitedNode(NodeRunnable):
    """A node that waits for its turn; async only.

    The tokens of a call are known only afterwards. Before, the tokens of the node's last call are
    assumed.
    """

    def __init__(self, node: str, bound: NodeRunnable, limits_of: LimitsOf) -> None:
        super().__init__(bound.invoke)
        self._node, self._bound, self._limits_of = node, bound, limits_of
        self._last_total_tokens: int | None = None

    def with_cache(self, cache: CacheBackend) -> NodeRunnable:
        """Copy the node for a graph that is compiled with a cache."""
        return RateLimitedNode(self._node, self._bound.with_cache(cache), self._limits_of)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Reject sync runs.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            f"`{self._node}`: rate limits require an event loop; expected an async "
            "run, such as `ainvoke`, got a sync one"
        )

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Wait for the turn, then run the node."""
        requests, tokens = self._limits_of(input)
        expected = self._last_total_tokens or count_message_tokens(input["messages"])
        if requests:
            await requests.acquire(1)
        if tokens:
            await tokens.acquire(expected)
        output = await self._bound.ainvoke(input, config)
        call = _read_call(self._node, output)
        if call.get("hedged"):  # a hedged request did not wait for its turn
            for limiter, units in ((requests, 1), (tokens, expected)):
                if limiter:
                    limiter.adjust(units)
        if tokens and (usage := call.get("usage")):
            self._last_total_tokens = usage["total_tokens"]
            tokens.adjust(self._last_total_tokens - expected)
        return output


def _read_call(node: str, output: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tokens and number of requests of a node; nothing if it made no call."""
    if messages := output.get("messages"):
        summary = messages[-1].response_metadata["moa"]
        hedged = node in summary.get("hedged", ())
        return {"usage": summary["aggregator_usage"], "hedged": hedged}
    decision = (output.get("depth") or {}).get(node)
    return decision or output.get("proposals", {}).get(node) or {}


def parse_rates(option: str, values: Sequence[str], mixture: MoAConfig) -> Rates:
    """Parse the values of an option: `500`, `openai=500`, `openai:gpt-6.1-sol=30`, `http://…=60`.

    Raises:
        ValueError: If one is not a number, or names neither a model nor an endpoint.
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
    """Return the endpoints and models of a mixture."""
    proposers = (agent for layer in mixture.layers for agent in layer.values())
    router = [mixture.router.model, *mixture.router.agents.values()] if mixture.router else []
    agents = (*proposers, *mixture.helpers, mixture.aggregator, *router)
    return sorted({name for agent in agents for name in (endpoint_of(agent), agent.label)})


def _parse_rate(option: str, value: str, number: str) -> float:
    with suppress(ValueError):
        if 0 < (rate := float(number)) < inf:
            return rate
    raise ValueError(f"{option} {value}: expected a number above 0, got {number!r}")
