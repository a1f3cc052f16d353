"""Edits of proposals at a checkpoint, before the graph continues."""

import json
from collections.abc import Mapping
from typing import Literal

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, ConfigDict

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import ANALYSIS, VOTE, parse_helper_role
from moa_graph.graph.state import RETRY
from moa_graph.prompting.analyses import Analysis, read_stored_analysis
from moa_graph.runs.fork_point import fork_point_in
from moa_graph.server.checkpoints import CheckpointView
from moa_graph.server.errors import HTTP_CONFLICT, ApiError
from moa_graph.server.json_types import JsonObject


class ProposalEdit(BaseModel):
    """An edit of a proposal."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: Literal["edit", "drop", "again"]
    text: str = ""
    """New text of the proposal, for `edit`."""


async def prepare_fork(
    graph: CompiledMoAGraph,
    step: CheckpointView,
    edits: Mapping[str, ProposalEdit],
    config: RunnableConfig,
) -> RunnableConfig:
    """Fork the thread at a checkpoint, as LangGraph does.

    Args:
        graph: The graph that continues.
        step: The checkpoint.
        edits: Edits of proposals, keyed by node.
        config: The thread.

    Returns:
        The config of the new checkpoint.

    Raises:
        ApiError: If the edits are not valid at this checkpoint.
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
    update: JsonObject = {"proposals": changes}
    if ANALYSIS in edits:
        update["analysis"] = _edit_analysis(step, edits[ANALYSIS])
    await graph.aupdate_state(target, update, as_node=_find_editor(graph, step, edits))
    return config


def _find_editor(
    graph: CompiledMoAGraph, step: CheckpointView, edits: Mapping[str, ProposalEdit]
) -> str:
    """Return the node whose writes the edits are; the graph continues after it."""
    node, edit = next(iter(edits.items()))
    if edit.action != "again" or parse_helper_role(node) in {None, VOTE}:
        return node
    # No layer aggregator sends a helper node back, so the graph continues after the node before it.
    return fork_point_in(graph, node).find_way(step.snapshot.values)[0]


def _edit_proposal(step: CheckpointView, node: str, edit: ProposalEdit) -> JsonObject | None:
    proposal = step.snapshot.values.get("proposals", {}).get(node)
    if proposal is None or proposal["layer"] != step.pending_layer:
        raise ApiError(
            HTTP_CONFLICT, f"edits: {node!r} cannot be changed at this step ({step.label!r})"
        )
    if edit.action == "drop":
        return None
    if edit.action == "again":
        return {"error": RETRY} if parse_helper_role(node) in {None, VOTE} else None
    if not edit.text.strip():
        raise ApiError(400, f"edits: the text of {node!r} is empty; drop it instead")
    edited = {"edited": proposal.get("attempt_id", "")}
    return {"content": edit.text.strip(), "error": None, "truncated_chars": 0, **edited}


def _edit_analysis(step: CheckpointView, edit: ProposalEdit) -> JsonObject | None:
    """Return the edited analysis for the state."""
    if edit.action != "edit":
        return None
    try:
        analysis = read_stored_analysis(json.loads(edit.text))
    except (ValueError, RecursionError):
        analysis = None
    if analysis is None:
        keys = ", ".join(Analysis.__annotations__)
        raise ApiError(400, f"edits: the text of {ANALYSIS!r} must be a JSON object with {keys}")
    return {**analysis, "turn_id": step.snapshot.values["proposals"][ANALYSIS]["turn_id"]}
