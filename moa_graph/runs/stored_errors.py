"""Parse errors that LangGraph stored with a checkpoint."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.types import StateSnapshot

from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR

CANCELLED_PREFIX = "CancelledError("  # LangGraph's text for Ctrl-C in a node


def read_node_errors(snapshot: StateSnapshot) -> Mapping[str, str]:
    """Return the failed nodes and their errors, without interrupted ones."""
    errors = {task.name: str(task.error) for task in snapshot.tasks if task.error}
    return {
        node: parse_stored_error(error)
        for node, error in errors.items()
        if not error.startswith(CANCELLED_PREFIX)
    }


def list_stopped_nodes(snapshot: StateSnapshot) -> Sequence[str]:
    """Return the nodes that were running when the run was interrupted."""
    stopped = (task for task in snapshot.tasks if str(task.error).startswith(CANCELLED_PREFIX))
    return [task.name for task in stopped]


def read_failed_calls(snapshot: StateSnapshot) -> Sequence[FailedCall]:
    """Return the failed calls of aggregators in a stored error."""
    for task in snapshot.tasks:
        match _parse_arguments(str(task.error)):
            case (str(), [{"node": _, "usage": _}, *_] as calls) if task.name == AGGREGATOR:
                return [cast("FailedCall", {"partial_content": "", **each}) for each in calls]
    return ()


def parse_stored_error(error: str) -> str:
    """Return the text of an error from the form in which LangGraph stores it."""
    match _parse_arguments(error):
        case None:
            return error
        case (str(text), [{"node": _, "usage": _}, *_]):  # text of an `AggregatorError`
            return text
        case arguments:
            return str(arguments)


def _parse_arguments(error: str) -> Any:
    """Parse the arguments of an error; `None` if that fails."""
    match = re.fullmatch(r"\w+\((.*)\)", error, re.DOTALL)
    try:
        return ast.literal_eval(match[1]) if match else None
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
