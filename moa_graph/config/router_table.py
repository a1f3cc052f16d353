"""The table `[router]` of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from moa_graph.config.agent_refs import read_agent, resolve_agent
from moa_graph.graph.node_names import FULL, check_agent_name
from moa_graph.models.agent import Agent
from moa_graph.validation_errors import UNION_TAG

if TYPE_CHECKING:
    from moa_graph.graph.router import Router

RouteName = Annotated[str, AfterValidator(check_agent_name)]
RouteAgent = Annotated[Agent, BeforeValidator(read_agent)]

ONE_AGENT, BY_ROUTE = UNION_TAG, UNION_TAG * 2


def _find_member(easy: Any) -> str:
    """Return the tag of a table of routes, or of one agent."""
    is_table = isinstance(easy, Mapping)
    is_agent = is_table and not isinstance(easy.get("model", {}), (Mapping, Agent))
    return BY_ROUTE if is_table and not is_agent else ONE_AGENT


EasyAgents = Annotated[
    Annotated[RouteAgent, Tag(ONE_AGENT)] | Annotated[dict[RouteName, RouteAgent], Tag(BY_ROUTE)],
    Discriminator(_find_member),
]


class RouterTable(BaseModel):
    """A `Router` as plain data, with a chat model as the decider."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: RouteAgent
    """The decider: a chat model with structured output."""
    easy: EasyAgents
    """The agent that answers easy questions; or several agents, by the name of their route."""
    criteria: dict[str, str] = Field(default={})
    """Descriptions of the routes by name; `full` is the route to the layers."""
    instructions: str | None = Field(default=None, min_length=1)
    """Instructions for the decider."""

    @property
    def agents(self) -> dict[str, Agent]:
        """The agents that answer instead of the layers, by route."""
        return {"easy": self.easy} if isinstance(self.easy, Agent) else self.easy

    def map_agents(self, change: Callable[[Agent], Agent]) -> RouterTable:
        """Return a copy with a function applied to each agent that answers easy questions."""
        agents = {name: change(agent) for name, agent in self.agents.items()}
        easy = agents["easy"] if isinstance(self.easy, Agent) else agents
        return self.model_copy(update={"easy": easy})

    def with_model(self, change: Callable[[Agent], Agent]) -> RouterTable:
        """Return a copy with a function applied to the decider."""
        return self.model_copy(update={"model": change(self.model)})

    def to_router(self) -> Router:
        """Create the `Router`."""
        from moa_graph.graph.router import DEFAULT_QUESTION, Router  # noqa: PLC0415  # LangGraph takes half a second

        return Router(
            self.model,
            easy=cast("Any", self.easy),
            criteria=self.criteria,
            instructions=self.instructions or DEFAULT_QUESTION,
        )


def resolve_router(table: Any, agents: Mapping[str, Any]) -> Any:
    """Replace names of agents in a router by the agents.

    Raises:
        ValueError: If it is not a table, or if a route has the name of the layers.
    """
    if table is None or isinstance(table, RouterTable):
        return table
    if not isinstance(table, Mapping):
        raise ValueError(  # noqa: TRY004  # pydantic reports it
            'router: expected a table, such as { model = "openai:gpt-6-luna", '
            f'easy = "openai:gpt-6.1-terra" }}, got {table!r}'
        )
    if "model" in table:
        table = {**table, "model": resolve_agent(table["model"], agents)}
    if "easy" not in table:
        return table
    easy = table["easy"]
    if not isinstance(easy, Mapping) or "model" in easy:
        return {**table, "easy": resolve_agent(easy, agents)}
    if FULL in easy:
        raise ValueError(f"router.easy.{FULL}: the name of the layers; expected another name")
    named = {name: resolve_agent(each, agents) for name, each in easy.items()}
    return {**table, "easy": named}
