"""The errors that LangGraph stores with a checkpoint."""

import ast
import re
from collections.abc import Mapping

from langgraph.types import StateSnapshot

CANCELLED_PREFIX = "CancelledError("  # how LangGraph stores what Ctrl-C raises in a node


def read_node_errors(snapshot: StateSnapshot) -> Mapping[str, str]:
    """Tell which nodes raised, and what; those that somebody stopped did not."""
    errors = {task.name: str(task.error) for task in snapshot.tasks if task.error}
    return {
        node: parse_stored_error(error)
        for node, error in errors.items()
        if not error.startswith(CANCELLED_PREFIX)
    }


def parse_stored_error(error: str) -> str:
    """Read the text of an error back from the form in which LangGraph stores it."""
    match = re.fullmatch(r"\w+\((.*)\)", error, re.DOTALL)
    try:
        return str(ast.literal_eval(match[1])) if match else error
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return error
