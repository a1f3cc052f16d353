"""Who sits where: the agents of each layer, their names, and their models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph
from pydantic import ValidationError

from moa_graph.calling import adapt
from moa_graph.models import Agent, Model, build_model
from moa_graph.naming import AGGREGATOR, check_name, free_name, slug
from moa_graph.quorum import Rules

Layer = Mapping[str, Model | Agent] | Sequence[Model | Agent]


class Team:
    """The models of a graph, built all together: a missing key shows before the first call."""

    def __init__(self) -> None:
        self.seats: list[Seat] = []

    def build(self) -> None:
        """Build the models now, not at the first call."""
        self.models  # noqa: B018  # cached

    @cached_property
    def models(self) -> dict[str, Runnable[Any, Any]]:
        """The model of each node."""
        return {
            seat.node: adapt(build_model(seat.agent), hidden=seat.hidden) for seat in self.seats
        }


@dataclass(frozen=True)
class Seat:
    """An agent's place in the graph."""

    team: Team
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

    def __post_init__(self) -> None:
        self.team.seats.append(self)

    @property
    def model(self) -> Runnable[Any, Any]:
        """What the agent asks."""
        return self.team.models[self.node]


@dataclass(frozen=True)
class Row:
    """A layer of proposers."""

    number: int
    """From 1."""
    seats: Sequence[Seat]
    rules: Rules


def assign_seats(
    layers: Sequence[Layer], aggregators: Sequence[Model | Agent], *, hidden: bool
) -> tuple[Team, list[list[Seat]], list[Seat]]:
    """Name and check all agents of a graph.

    Returns:
        The team, the seats of each layer, and those of the aggregator and its fallbacks.

    Raises:
        ValueError: If a layer is empty, or a name or an agent makes no sense; the message says
            where.
    """
    if isinstance(layers, (str, Mapping)) or not isinstance(layers, Sequence) or not layers:
        raise ValueError(
            f"`layers`: expected a list of layers, such as [{{'name': model}}], got {layers!r}"
        )
    team, rows, reads = Team(), list[list[Seat]](), list[str]()
    for number, layer in enumerate(layers, 1):
        named = _named(layer, f"`layers[{number - 1}]`")
        rows.append(
            [
                Seat(team, f"layer_{number}_{name}", number, name, agent, reads, hidden)
                for name, agent in named
            ]
        )
        reads = [seat.node for seat in rows[-1]]
    writers = list[Seat]()
    for place, value in enumerate(aggregators):
        name = f"fallback_{place}" if place else AGGREGATOR
        agent = _agent(value, f"`fallbacks[{place - 1}]`" if place else "`aggregator`")
        writers.append(Seat(team, name, len(layers) + 1, name, agent, reads, hidden=False))
    return team, rows, writers


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
