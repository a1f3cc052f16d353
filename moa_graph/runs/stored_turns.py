"""The newest turn of a stored thread, with pending proposals."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.constants import START
from langgraph.types import StateSnapshot

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.state import merge_writes
from moa_graph.graph.turns import Turn, read_turn, unanswered_messages
from moa_graph.runs.record import AGGREGATOR_FAILURE, current_turn_proposals
from moa_graph.runs.stored_errors import read_failed_calls, read_node_errors


async def read_newest_turn(
    graph: CompiledMoAGraph, config: RunnableConfig, snapshot: StateSnapshot
) -> Turn:
    """Return the newest turn of a thread, including earlier unanswered questions.

    Args:
        graph: The compiled mixture.
        config: Config with the thread, and the checkpoint if it is not the newest.
        snapshot: Result of `graph.aget_state(config)`.
    """
    turn = read_turn(snapshot)
    if turn.status != "unanswered" or not unanswered_messages(turn.history):
        return turn
    return read_turn(snapshot, [each async for each in graph.aget_state_history(config)])


async def read_current_values(graph: CompiledMoAGraph, config: RunnableConfig) -> dict[str, Any]:
    """Return the state of a thread, as `current_turn_values` does."""
    return current_turn_values(graph, await graph.aget_state(config))


def current_turn_values(graph: CompiledMoAGraph, snapshot: StateSnapshot) -> dict[str, Any]:
    """Return a state with the proposals of its present turn, in configured order.

    It includes pending proposals of an incomplete layer, which the state will contain only when the
    layer is complete. `AGGREGATOR_FAILURE` contains the failure of the aggregator, if there is one.
    """
    values = dict(snapshot.values)
    if START in snapshot.next:  # these proposals belong to an earlier question
        values["proposals"] = {}
    results = [(task.result or {}).get("proposals", {}) for task in snapshot.tasks]
    proposals = merge_writes(current_turn_proposals(values), results)
    values["proposals"] = {node: proposals[node] for node in graph.nodes if node in proposals}
    if error := read_node_errors(snapshot).get(AGGREGATOR):
        model = (graph.builder.nodes[AGGREGATOR].metadata or {}).get("model", "")
        failed_calls = read_failed_calls(snapshot)
        values[AGGREGATOR_FAILURE] = {"model": model, "error": error, "failed_calls": failed_calls}
    return values
