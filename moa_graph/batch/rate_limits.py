"""How fast endpoints are asked: so many requests and tokens a minute.

A call waits for its turn before its clock starts: neither its timeout nor its layer's grace runs.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, cast

from langchain_core.runnables import RunnableConfig

from moa_graph.config.model import MoAConfig
from moa_graph.graph.answer_cache import Cache
from moa_graph.graph.builder import MoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.proposer import Node
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import is_free
from moa_graph.prompting.tokens import count_message_tokens

BURST = 1.0  # seconds: providers look at shorter times than a minute, too

Rates = Mapping[str | None, float]
"""What a minute may hold, by model (`provider:model`) or endpoint; `None` is any endpoint."""


class Meter:
    """Lets no more through than so many units in any minute, evenly, and in the order of arrival.

    Args:
        a_minute: How many units.
    """

    def __init__(self, a_minute: float) -> None:
        self._seconds = (60 + BURST) / a_minute
        self._free, self._turn = -inf, asyncio.Lock()

    async def take(self, units: float) -> None:
        """Wait for the turn, and take so many units, which those behind wait for."""
        async with self._turn:
            while (wait := self._free - monotonic()) > 0:  # noqa: ASYNC110  # it may be corrected
                await asyncio.sleep(wait)
            self._free = max(self._free, monotonic() - BURST) + units * self._seconds

    def correct(self, units: float) -> None:
        """Take so many units more, or less than none: it turned out so afterwards."""
        self._free += units * self._seconds


def endpoint(agent: Agent) -> str:
    """Say who is asked: an agent's `base_url`, or its provider."""
    return agent.base_url or agent.label.partition(":")[0]


@dataclass
class Limits:
    """What the endpoints of a mixture can take; all its runs share it."""

    requests: Rates = field(default_factory=dict)
    tokens: Rates = field(default_factory=dict)
    _meters: dict[tuple[str, str], Meter] = field(default_factory=dict)

    def apply(self, builder: MoAGraph) -> None:
        """Have the agents of a graph that is not yet compiled wait for their turn."""
        for node, spec in builder.nodes.items():
            if (seat := builder.plan.seat(node)) is None or is_free(seat.agent.label):
                continue
            requests = self._meter("requests", self.requests, seat.agent)
            tokens = self._meter("tokens", self.tokens, seat.agent)
            if requests or tokens:
                bound = cast("Node", spec.runnable)
                spec.runnable = Limited(node, bound, requests, tokens)

    def share(self, processes: int) -> "Limits":
        """Give what each of several processes may use."""
        return Limits(
            {name: rate / processes for name, rate in self.requests.items()},
            {name: rate / processes for name, rate in self.tokens.items()},
        )

    def _meter(self, kind: str, rates: Rates, agent: Agent) -> Meter | None:
        for name in (agent.label, endpoint(agent), None):
            if name in rates:
                key = kind, name or endpoint(agent)
                return self._meters.setdefault(key, Meter(rates[name]))
        return None


NO_LIMITS = Limits()


class Limited(Node):
    """A node that waits for its turn; async only.

    How many tokens a call takes is known afterwards: before, it is taken to be what the last one
    of this node took.
    """

    def __init__(
        self, node: str, bound: Node, requests: Meter | None, tokens: Meter | None
    ) -> None:
        super().__init__(bound.invoke, bound.ainvoke)
        self._node, self._bound, self._requests, self._tokens = node, bound, requests, tokens
        self._last: int | None = None

    def with_cache(self, cache: Cache) -> Node:
        """Copy it for a graph that is compiled with a cache."""
        bound = self._bound.with_cache(cache)
        return Limited(self._node, bound, self._requests, self._tokens)

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
        expected = self._last or count_message_tokens(input["messages"])
        if self._requests:
            await self._requests.take(1)
        if self._tokens:
            await self._tokens.take(expected)
        output = await self._bound.ainvoke(input, config)
        if self._tokens and (usage := _usage(self._node, output)):
            self._last = usage["total_tokens"]
            self._tokens.correct(self._last - expected)
        return output


def _usage(node: str, output: Mapping[str, Any]) -> dict[str, Any] | None:
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
    proposers = (agent for layer in mixture.layers for agent in layer.values())
    agents = (*proposers, mixture.aggregator)
    known = sorted({name for agent in agents for name in (endpoint(agent), agent.label)})
    rates = dict[str | None, float]()
    for value in values:
        name, _, number = value.rpartition("=")
        if name and name not in known:
            raise ValueError(f"{option} {value}: expected one of {', '.join(known)}, got {name!r}")
        try:
            rates[name or None] = float(number)
        except ValueError:
            rates[name or None] = 0
        if not 0 < rates[name or None] < inf:
            raise ValueError(f"{option} {value}: expected a number above 0, got {number!r}")
    return rates
