"""Who sits where: the agents of each layer, their names, and their models."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph
from pydantic import ValidationError

from moa_graph.graph.node_names import (
    AGGREGATOR,
    check_name,
    free_name,
    slug,
)
from moa_graph.graph.policy import Rules
from moa_graph.graph.state import MoAState, Proposal
from moa_graph.models.adapt import adapt, ends_in_a_message, keys_of
from moa_graph.models.agent import (
    Agent,
    Model,
    build_model,
    key_variable,
)

Layer = Mapping[str, Model | Agent] | Sequence[Model | Agent]


@dataclass(frozen=True)
class Seat:
    """An agent's place in the graph."""

    node: str
    """Name of the node."""
    layer: int
    """Number of the layer, from 1; the aggregator's is one more than the last."""
    name: str
    """Name of the agent in its layer."""
    agent: Agent
    reads: Sequence[str]
    """Nodes whose proposals it reads."""
    hidden: bool
    """Whether `stream_mode="messages"` leaves the agent's tokens out."""
    models: Callable[[], Mapping[str, Runnable[Any, Any]]]
    """Builds the models of all seats, once."""
    view: Callable[[Sequence[AnyMessage]], Sequence[AnyMessage]] = list
    """How it sees the conversation."""

    @property
    def keys(self) -> list[str]:
        """The keys that the agent's model was given, to be kept out of what is stored."""
        variable = key_variable(self.agent)
        values = [os.environ.get(variable, "")] if variable else []
        return [*values, *keys_of(self.model)]

    @property
    def model(self) -> Runnable[Any, Any]:
        """What the agent asks."""
        return self.models()[self.node]


@dataclass(frozen=True)
class Row:
    """A layer of proposers."""

    number: int
    """From 1."""
    seats: Sequence[Seat]
    rules: Rules

    def proposals_in(self, state: MoAState) -> dict[str, Proposal]:
        """Give the layer's proposals of a state, keyed by node."""
        known = state.get("proposals", {})
        return {seat.node: known[seat.node] for seat in self.seats if seat.node in known}


def assign_seats(
    layers: Sequence[Layer],
    aggregators: Sequence[Model | Agent],
    *,
    hidden: bool,
    hidden_writers: bool = False,
) -> tuple[list[list[Seat]], list[Seat]]:
    """Name and check all agents of a graph.

    Args:
        layers: The layers of proposers.
        aggregators: The aggregator, and its fallbacks.
        hidden: Whether nobody sees the tokens of the proposers.
        hidden_writers: Whether nobody sees those of the aggregators either.

    Returns:
        The seats of each layer, and those of the aggregator and its fallbacks. Their models are
        built when the first is used, all together: a missing key shows before the first call.

    Raises:
        ValueError: If a layer is empty, or a name or an agent makes no sense; the message says
            where.
    """
    if isinstance(layers, (str, Mapping)) or not isinstance(layers, Sequence) or not layers:
        raise ValueError(
            f"`layers`: expected a list of layers, such as [{{'name': model}}], got {layers!r}"
        )
    rows, writers, reads = list[list[Seat]](), list[Seat](), list[str]()

    @cache
    def models() -> dict[str, Runnable[Any, Any]]:
        seats = [*chain.from_iterable(rows), *writers]
        return {s.node: adapt(build_model(s.agent), hidden=s.hidden) for s in seats}

    for number, layer in enumerate(layers, 1):
        named = _named(layer, f"`layers[{number - 1}]`")
        rows.append(
            [
                Seat(f"layer_{number}_{name}", number, name, agent, reads, hidden, models)
                for name, agent in named
            ]
        )
        reads = [seat.node for seat in rows[-1]]
    for place, value in enumerate(aggregators):
        name = f"fallback_{place}" if place else AGGREGATOR
        agent = _writer(value, f"`fallbacks[{place - 1}]`" if place else "`aggregator`")
        # What is not the streamed message itself would be seen twice: it comes whole instead.
        streams = isinstance(agent.model, str) or ends_in_a_message(agent.model)
        unseen = hidden_writers or not streams
        writers.append(Seat(name, len(layers) + 1, name, agent, reads, unseen, models))
    return rows, writers


def _writer(value: Any, place: str) -> Agent:
    agent = _agent(value, place)
    if agent.samples != 1:
        raise ValueError(f"{place}: `samples`={agent.samples}: an aggregator is asked once")
    return agent


def _named(layer: Layer, place: str) -> Iterator[tuple[str, Agent]]:
    """Give each sample of each agent of a layer its name."""
    if isinstance(layer, str) or not isinstance(layer, (Mapping, Sequence)) or not layer:
        raise ValueError(
            f"{place}: expected names mapped to models, or a list of models, got {layer!r}"
        )
    given = dict(layer) if isinstance(layer, Mapping) else {}
    taken: set[Any] = set(given)
    for key, value in given.items() or enumerate(layer):
        agent = _agent(value, f"{place}[{key!r}]")
        name = _name(key, place) if given else slug(agent.label)
        for sample in range(agent.samples):
            unique = name if given and sample == 0 else free_name(name, taken)
            taken.add(unique)
            yield unique, agent


def _name(key: Any, place: str) -> str:
    try:
        return check_name(key)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _agent(value: Any, place: str) -> Agent:
    if isinstance(value, StateGraph):
        value = value.compile()
    if isinstance(value, Agent):
        return value
    try:
        return Agent(model=value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place}: {reason}") from None
