"""The errors that LangGraph stores with a checkpoint."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.types import StateSnapshot

from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR

CANCELLED_PREFIX = "CancelledError("  # how LangGraph stores what Ctrl-C raises in a node


def read_node_errors(snapshot: StateSnapshot) -> Mapping[str, str]:
    """Tell which nodes raised, and what; those that somebody stopped did not."""
    errors = {task.name: str(task.error) for task in snapshot.tasks if task.error}
    return {
        node: parse_stored_error(error)
        for node, error in errors.items()
        if not error.startswith(CANCELLED_PREFIX)
    }


def read_failed_calls(snapshot: StateSnapshot) -> Sequence[FailedCall]:
    """Give the calls of aggregators that all failed, as the stored error tells them."""
    for task in snapshot.tasks:
        match _parse_arguments(str(task.error)):
            case (str(), [{"node": _, "usage": _}, *_] as calls) if task.name == AGGREGATOR:
                return [cast("FailedCall", {"partial_content": "", **each}) for each in calls]
    return ()


def parse_stored_error(error: str) -> str:
    """Read the text of an error back from the form in which LangGraph stores it."""
    match _parse_arguments(error):
        case None:
            return error
        case (str(text), [{"node": _, "usage": _}, *_]):  # of an `AggregatorError`
            return text
        case arguments:
            return str(arguments)


def _parse_arguments(error: str) -> Any:
    """Read what an error was made of; `None` if that cannot be read."""
    match = re.fullmatch(r"\w+\((.*)\)", error, re.DOTALL)
    try:
        return ast.literal_eval(match[1]) if match else None
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
