"""Checkpoints of a thread as named steps that can be continued."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from moa_graph.config.model import STORED, MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph, MoAGraph
from moa_graph.graph.depth import find_newest_turn_id
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import (
    AGGREGATOR,
    VOTE,
    VOTES,
    parse_helper_role,
    parse_node_name,
)
from moa_graph.runs.record import current_turn_proposals
from moa_graph.runs.store import RUN_BEGAN_KEY, Checkpointer
from moa_graph.runs.stored_configs import read_stored_config
from moa_graph.runs.stored_errors import read_node_errors
from moa_graph.runs.stored_turns import current_turn_values
from moa_graph.server.errors import ApiError
from moa_graph.server.json_types import JsonObject
from moa_graph.server.shared_loads import share_loads

MAX_CHECKPOINTS = 1000  # maximum number of checkpoints of a thread


@dataclass(frozen=True)
class CheckpointView:
    """A checkpoint, and the graph that wrote it."""

    snapshot: StateSnapshot
    mixture: MoAConfig
    graph: CompiledMoAGraph
    is_branch_end: bool
    """Whether no other checkpoint follows it."""

    @property
    def id(self) -> str:
        """Id of the checkpoint."""
        return checkpoint_id(self.snapshot.config)

    @property
    def pending_layer(self) -> int | None:
        """The layer whose proposals can be edited before they are read.

        Voters, windows and an analysis count as layers after the last one.
        """
        following = (self.snapshot.next or ("",))[0]
        if name := parse_node_name(following):
            return name.layer if name.is_layer_aggregator else None
        if following == VOTES:
            return len(self._spec.layers) + 1
        if helper := self._find_helper_before(following):
            return int(current_turn_proposals(self.snapshot.values)[helper]["layer"])
        return None

    def _find_helper_before(self, node: str) -> str | None:
        """Return the window or analysis that leads to a node and has a result."""
        chain = [n for n in self._spec.helper_nodes if parse_helper_role(n) != VOTE]
        before = dict(zip([*chain[1:], AGGREGATOR], chain, strict=False)).get(node)
        return before if before in current_turn_proposals(self.snapshot.values) else None

    @property
    def _spec(self) -> GraphSpec:
        return cast("MoAGraph", self.graph.builder).spec

    @property
    def values(self) -> Mapping[str, Any]:
        """The state. At the end of a branch, it includes pending writes of the stopped layer."""
        if self.is_branch_end:
            return current_turn_values(self.graph, self.snapshot)
        values = self.snapshot.values
        return {**values, "proposals": current_turn_proposals(values)}

    @property
    def source(self) -> str:
        """The source that LangGraph recorded: `loop`, `update`, `fork`."""
        return (self.snapshot.metadata or {}).get("source", "")

    @property
    def created_at(self) -> float:
        """Time of the checkpoint in seconds since 1970; 0 if unknown."""
        written_at = self.snapshot.created_at
        return datetime.fromisoformat(written_at).timestamp() if written_at else 0.0

    @property
    def run_began_at(self) -> float:
        """Start of the run that wrote it, in seconds since 1970; 0 if unknown."""
        began = (self.snapshot.metadata or {}).get(RUN_BEGAN_KEY)
        return float(began) if isinstance(began, (int, float)) else 0.0

    @property
    def turn(self) -> int:
        """Number of the turn in the thread, from 1."""
        return sum(message.type == "human" for message in self.snapshot.values["messages"])

    @property
    def turn_id(self) -> str:
        """Id of the message that the turn answers; empty if there is none."""
        messages = self.snapshot.values.get("messages")
        return find_newest_turn_id(messages) if messages else ""

    @property
    def label(self) -> str:
        """A short description of the last step."""
        next_nodes = self.snapshot.next
        if not next_nodes:
            return "Answer"
        if self.pending_layer:
            name = self._name_layer(self.pending_layer)
            return f"{name} {self._describe_layer(self.pending_layer)}"
        proposals = current_turn_proposals(self.snapshot.values)
        if next_nodes[0] == AGGREGATOR:
            layers = [each["layer"] for each in proposals.values()]
            return f"{self._name_layer(max(layers, default=len(self._spec.layers)))} gathered"
        layer = self._find_layer(next_nodes[0])
        if any(proposal["layer"] == layer for proposal in proposals.values()):
            return f"{self._name_layer(layer)} runs again"
        return f"{self._name_layer(layer - 1)} gathered" if layer > 1 else "Question"

    def _find_layer(self, node: str) -> int:
        agent_node = self._spec.find_agent_node(node)
        return agent_node.layer if agent_node else 1

    def _name_layer(self, layer: int) -> str:
        """Return the name of a layer, or of a stage after the last layer."""
        helpers = {self._find_layer(node): node for node in self._spec.helper_nodes}
        if not (node := helpers.get(layer)):
            return f"Layer {layer}"
        return "Vote" if parse_helper_role(node) == VOTE else node.replace("_", " ").capitalize()

    def _describe_layer(self, layer: int) -> str:
        if self.source == "update":
            return "edited"
        proposals = current_turn_proposals(self.snapshot.values).values()
        errors = [proposal["error"] for proposal in proposals if proposal["layer"] == layer]
        return "failed" if errors and all(errors) else "answered"

    @property
    def error(self) -> str | None:
        """Why the run ended here without an answer; `None` if somebody stopped it."""
        errors = list(read_node_errors(self.snapshot).values()) if self.is_branch_end else []
        return errors[0] if errors else None

    def as_json(self) -> JsonObject:
        """Return the JSON for the timeline."""
        return {
            "id": self.id,
            "label": self.label,
            "when": self.snapshot.created_at,
            "turn": self.turn,
            "layer": self.pending_layer,
        }


@dataclass(frozen=True)
class CheckpointHistory:
    """The checkpoints of a thread, newest first. A forked thread has several branches."""

    checkpoints: Mapping[str, CheckpointView]
    parents: Mapping[str, str]

    def find_checkpoint(self, checkpoint: str | None) -> CheckpointView:
        """Return a checkpoint; by default the newest.

        Raises:
            ApiError: If there is no such checkpoint.
        """
        checkpoint_view = self.checkpoints.get(checkpoint or next(iter(self.checkpoints), ""))
        if not checkpoint_view:
            raise ApiError(404, f"checkpoint: no checkpoint {checkpoint!r}", code="not_found")
        return checkpoint_view

    def branch_of(self, step: CheckpointView) -> list[CheckpointView]:
        """Return the checkpoints from the first to the end of the newest branch with this one."""
        lines = (self.path_to(end) for end in self.branch_ends)
        return next((line for line in lines if step in line), self.path_to(step))

    def list_starts(self, step: CheckpointView) -> list[float]:
        """List when runs of the turn of a step began, or changed it, in seconds since 1970."""
        starts = set[float]()
        for each in self.ancestors_of(step):
            if each.turn == step.turn:
                starts.add(each.run_began_at)
                if each.source in {"update", "fork"}:
                    starts.add(each.created_at)
        return sorted(starts - {0.0})

    def ancestors_of(self, step: CheckpointView) -> Iterator[CheckpointView]:
        """Yield a checkpoint and those before it, newest first, with the copies of LangGraph."""
        current = self.checkpoints.get(step.id)
        while current:
            yield current
            current = self.checkpoints.get(self.parents[current.id])

    def find_asked_mixture(self) -> MoAConfig:
        """Return the mixture with which the last question was asked, before remedies changed it."""
        newest = self.find_checkpoint(None)
        turn = [each for each in self.ancestors_of(newest) if each.turn_id == newest.turn_id]
        return turn[-1].mixture

    @property
    def branch_ends(self) -> list[CheckpointView]:
        """The last checkpoint of each branch, newest first."""
        return [step for step in self.checkpoints.values() if step.is_branch_end]

    def path_to(self, end: CheckpointView) -> list[CheckpointView]:
        """Return the checkpoints that led to one, first to last."""
        line = [end]
        while before := self._previous_checkpoint(line[-1]):
            line.append(before)
        return line[::-1]

    def _previous_checkpoint(self, step: CheckpointView) -> CheckpointView | None:
        parent = self.checkpoints.get(self.parents[step.id])
        is_copy = parent and step.source == "fork" and parent.snapshot.next == step.snapshot.next
        if parent and is_copy:  # LangGraph's copy represents the checkpoint from which it continues
            return self._previous_checkpoint(parent)
        return parent


def checkpoint_id(config: RunnableConfig | None) -> str:
    """Return the id of a checkpoint."""
    return str(config["configurable"]["checkpoint_id"]) if config else ""


async def read_checkpoint_history(
    saver: Checkpointer, thread: str, mixture: MoAConfig
) -> CheckpointHistory:
    """Read the checkpoints of a thread, each with its mixture."""
    config_json = mixture.model_dump_json(exclude_defaults=True)
    graphs = {config_json: (mixture, _compile(mixture, saver))}
    snapshots = await _read_snapshots(graphs[config_json][1], thread)
    for other in {read_stored_config(s) for s in snapshots} - {config_json, None}:
        config = MoAConfig.model_validate_json(other or "", context=STORED)
        graphs[str(other)] = (config, _compile(config, saver))
    for other in graphs.keys() - {config_json}:
        own = {checkpoint_id(s.config): s for s in await _read_snapshots(graphs[other][1], thread)}
        snapshots = [
            own[checkpoint_id(s.config)] if read_stored_config(s) == other else s for s in snapshots
        ]
    parents = _find_parents(snapshots)
    steps = {
        name: CheckpointView(
            snapshot,
            *graphs[read_stored_config(snapshot) or config_json],
            name not in parents.values(),
        )
        for snapshot in snapshots
        if (name := checkpoint_id(snapshot.config)) in parents
    }
    return CheckpointHistory(steps, parents)


def _compile(mixture: MoAConfig, saver: Checkpointer) -> CompiledMoAGraph:
    return mixture.graph().compile(checkpointer=saver, name=mixture.name)


async def _read_snapshots(graph: CompiledMoAGraph, thread: str) -> Sequence[StateSnapshot]:
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    reader = copy(graph)
    reader.checkpointer = share_loads(cast("Checkpointer", graph.checkpointer))
    return [each async for each in reader.aget_state_history(config, limit=MAX_CHECKPOINTS)]


def _find_parents(snapshots: Sequence[StateSnapshot]) -> dict[str, str]:
    """Return the parent of each checkpoint.

    Inputs that the graph has not processed yet are left out.
    """
    before = {checkpoint_id(s.config): checkpoint_id(s.parent_config) for s in snapshots}
    skipped = {checkpoint_id(s.config) for s in snapshots if s.next == ("__start__",)}
    parents = {}
    for name in before.keys() - skipped:
        parent = before[name]
        while parent in skipped:
            parent = before[parent]
        parents[name] = parent
    return parents
