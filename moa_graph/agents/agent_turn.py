"""The private agent state of `MoAMiddleware`: the proposals of the current turn."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, cast

from langchain.agents.middleware.types import AgentState, PrivateStateAttr
from langgraph.channels import DeltaChannel
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.state import SNAPSHOT_FREQUENCY, Proposal

TURNS = "moa_panels"
"""State key (its stored name); private, so not in the input or output schema of the agent."""


class AgentTurn(TypedDict, total=False):
    """The current turn of an agent, and the proposals of a middleware for it."""

    turn_id: str
    """Id of the turn. Each user message starts a turn."""
    opening_id: str | None
    """Id of the user message that started the turn."""
    asked_turn_id: str | None
    """Id of the turn in which the layers last ran."""
    steps: int
    """Calls of the agent's model since the layers ran, if `consult` is a number."""
    proposals: dict[str, Proposal]
    """The proposals of the layers, keyed by node."""
    depth: dict[str, DepthDecision]
    """Decisions about further layers, keyed by the node of the layer aggregator."""
    opening_digest: str
    """Digest of the user message as the layers read it."""
    first_read_id: str | None
    """Id of the first message that the layers read."""
    last_read_id: str | None
    """Id of the last message of the conversation when the layers ran."""


def merge_turns(
    old: Mapping[str, AgentTurn], writes: Sequence[Mapping[str, AgentTurn]]
) -> dict[str, AgentTurn]:
    """Merge the updates of hooks: the changed fields, keyed by the name of the middleware."""
    merged = dict(old)
    for write in writes:
        for name, update in write.items():
            merged[name] = cast("AgentTurn", {**merged.get(name, {}), **update})
    return merged


class AgentTurnState(AgentState[Any]):
    """The state of an agent with layers of proposers.

    A `DeltaChannel` stores only the update of each hook, not all proposals again at each step.
    """

    moa_panels: NotRequired[
        Annotated[
            dict[str, AgentTurn],
            DeltaChannel(merge_turns, snapshot_frequency=SNAPSHOT_FREQUENCY),
            PrivateStateAttr,
        ]
    ]
    """The turns, keyed by the name of the middleware."""


def read_agent_turn(state: Mapping[str, Any], name: str) -> AgentTurn:
    """Return the turn that a middleware stored; an empty dict before its first turn."""
    turns: Mapping[str, AgentTurn] = state.get(TURNS) or {}
    return turns.get(name, {})


def turn_update(name: str, turn: AgentTurn) -> dict[str, dict[str, AgentTurn]]:
    """Return a state update that sets fields of a middleware's turn."""
    return {TURNS: {name: turn}}
