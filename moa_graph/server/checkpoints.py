"""The checkpoints of a thread as steps that a person can name, go back to, and go on from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot
from pydantic import BaseModel, ConfigDict

from moa_graph.config.model import STORED, MoAConfig
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.graph.state import RETRY
from moa_graph.runs.record import current_turn_proposals
from moa_graph.runs.store import (
    CONFIG_KEY,
    Checkpointer,
    CompiledMoA,
    current_turn_values,
)
from moa_graph.runs.stored_errors import read_node_errors
from moa_graph.server.errors import HTTP_CONFLICT, ApiError

JsonObject = dict[str, Any]

MAX_CHECKPOINTS = 1000  # checkpoints that are read of one thread


class ProposalEdit(BaseModel):
    """What becomes of a proposal."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: Literal["edit", "drop", "again"]
    text: str = ""
    """The proposal's new text, for `edit`."""


@dataclass(frozen=True)
class CheckpointView:
    """A checkpoint, and the graph that wrote it."""

    snapshot: StateSnapshot
    mixture: MoAConfig
    graph: CompiledMoA
    is_branch_end: bool
    """Whether no other follows it."""

    @property
    def id(self) -> str:
        """The checkpoint's."""
        return checkpoint_id(self.snapshot.config)

    @property
    def pending_layer(self) -> int | None:
        """The layer whose proposals are gathered next, and can be changed before."""
        name = parse_node_name((self.snapshot.next or ("",))[0])
        return name.layer if name and name.is_layer_aggregator else None

    @property
    def values(self) -> Mapping[str, Any]:
        """The state. At the end of a branch, what the layer that was stopped had stored counts."""
        if self.is_branch_end:
            return current_turn_values(self.graph, self.snapshot)
        values = self.snapshot.values
        return {**values, "proposals": current_turn_proposals(values)}

    @property
    def source(self) -> str:
        """How LangGraph came to write it: `loop`, `update`, `fork`."""
        return (self.snapshot.metadata or {}).get("source", "")

    @property
    def label(self) -> str:
        """What has just happened, in a few words."""
        next_nodes = self.snapshot.next
        if not next_nodes:
            return "Answer"
        if self.pending_layer:
            return f"Layer {self.pending_layer} {self._describe_layer(self.pending_layer)}"
        if next_nodes[0] == AGGREGATOR:
            return f"Layer {len(self.mixture.layers)} gathered"
        name = parse_node_name(next_nodes[0])
        layer = name.layer if name else 1
        proposals = current_turn_proposals(self.snapshot.values).values()
        if any(proposal["layer"] == layer for proposal in proposals):
            return f"Layer {layer} asks again"
        return f"Layer {layer - 1} gathered" if layer > 1 else "Question"

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
        """Give what a timeline shows of it."""
        questions = [m for m in self.snapshot.values["messages"] if m.type == "human"]
        return {
            "id": self.id,
            "label": self.label,
            "when": self.snapshot.created_at,
            "turn": len(questions),
            "layer": self.pending_layer,
        }


@dataclass(frozen=True)
class CheckpointHistory:
    """The steps of a thread, newest first. A thread that was forked has several branches."""

    checkpoints: Mapping[str, CheckpointView]
    parents: Mapping[str, str]

    def find_checkpoint(self, checkpoint: str | None) -> CheckpointView:
        """Give a step; by default the newest.

        Raises:
            ApiError: If there is no such step.
        """
        checkpoint_view = self.checkpoints.get(checkpoint or next(iter(self.checkpoints), ""))
        if not checkpoint_view:
            raise ApiError(404, f"checkpoint: no step {checkpoint!r}", code="not_found")
        return checkpoint_view

    def branch_of(self, step: CheckpointView) -> list[CheckpointView]:
        """Give the steps from the first to the end of the newest branch that has this step."""
        lines = (self._path_to(end) for end in self.branch_ends)
        return next((line for line in lines if step in line), self._path_to(step))

    @property
    def branch_ends(self) -> list[CheckpointView]:
        """The last step of each branch, newest first."""
        return [step for step in self.checkpoints.values() if step.is_branch_end]

    def _path_to(self, end: CheckpointView) -> list[CheckpointView]:
        """Give the steps that led to one, first to last."""
        line = [end]
        while before := self._previous_checkpoint(line[-1]):
            line.append(before)
        return line[::-1]

    def _previous_checkpoint(self, step: CheckpointView) -> CheckpointView | None:
        parent = self.checkpoints.get(self.parents[step.id])
        is_copy = parent and step.source == "fork" and parent.snapshot.next == step.snapshot.next
        if parent and is_copy:  # LangGraph's copy stands for the step from which it goes on
            return self._previous_checkpoint(parent)
        return parent


def checkpoint_id(config: RunnableConfig | None) -> str:
    """Name a checkpoint."""
    return str(config["configurable"]["checkpoint_id"]) if config else ""


async def read_checkpoint_history(
    saver: Checkpointer, thread: str, mixture: MoAConfig
) -> CheckpointHistory:
    """Read the steps of a thread, each with the mixture that was asked then."""
    config_json = mixture.model_dump_json(exclude_defaults=True)
    graphs = {config_json: (mixture, mixture.graph().compile(checkpointer=saver))}
    snapshots = await _read_snapshots(graphs[config_json][1], thread)
    for other in {_stored_config(s) for s in snapshots} - {config_json, None}:
        config = MoAConfig.model_validate_json(other or "", context=STORED)
        graphs[str(other)] = (config, config.graph().compile(checkpointer=saver))
    for other in graphs.keys() - {config_json}:
        own = {checkpoint_id(s.config): s for s in await _read_snapshots(graphs[other][1], thread)}
        snapshots = [
            own[checkpoint_id(s.config)] if _stored_config(s) == other else s for s in snapshots
        ]
    parents = _find_parents(snapshots)
    steps = {
        name: CheckpointView(
            snapshot, *graphs[_stored_config(snapshot) or config_json], name not in parents.values()
        )
        for snapshot in snapshots
        if (name := checkpoint_id(snapshot.config)) in parents
    }
    return CheckpointHistory(steps, parents)


async def prepare_fork(
    graph: CompiledMoA,
    step: CheckpointView,
    edits: Mapping[str, ProposalEdit],
    config: RunnableConfig,
) -> RunnableConfig:
    """Make ready to go on from a step: LangGraph's own fork, on the same thread.

    Args:
        graph: The graph that is to go on.
        step: The step.
        edits: What becomes of proposals, keyed by node.
        config: The thread.

    Returns:
        Where to go on.

    Raises:
        ApiError: If that makes no sense.
    """
    if not step.snapshot.next:
        raise ApiError(
            HTTP_CONFLICT, "checkpoint: the answer; expected an earlier step to go on from"
        )
    checkpoint = {"checkpoint_id": step.id, "checkpoint_ns": ""}
    target: RunnableConfig = {**config, "configurable": config["configurable"] | checkpoint}
    if not edits:
        return target
    changes = {node: _edit_proposal(step, node, edit) for node, edit in edits.items()}
    await graph.aupdate_state(target, {"proposals": changes}, as_node=next(iter(edits)))
    return config


def _edit_proposal(step: CheckpointView, node: str, edit: ProposalEdit) -> JsonObject | None:
    proposal = step.snapshot.values.get("proposals", {}).get(node)
    if proposal is None or proposal["layer"] != step.pending_layer:
        raise ApiError(
            HTTP_CONFLICT, f"edits: {node!r} cannot be changed at this step ({step.label!r})"
        )
    if edit.action == "drop":
        return None
    if edit.action == "again":
        return {"error": RETRY}
    if not edit.text.strip():
        raise ApiError(400, f"edits: the text of {node!r} is empty; drop it instead")
    return {"content": edit.text.strip(), "error": None, "truncated_chars": 0}


async def _read_snapshots(graph: CompiledMoA, thread: str) -> Sequence[StateSnapshot]:
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    return [each async for each in graph.aget_state_history(config, limit=MAX_CHECKPOINTS)]


def _find_parents(snapshots: Sequence[StateSnapshot]) -> dict[str, str]:
    """Give the step before each step.

    Left out are questions that the graph has not yet taken in.
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


def _stored_config(snapshot: StateSnapshot) -> str | None:
    metadata: dict[str, Any] = {**(snapshot.metadata or {})}
    return metadata.get(CONFIG_KEY)
