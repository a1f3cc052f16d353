"""Report the error of a call without raising it, which would cancel parallel calls."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.types import Command

from moa_graph.errors import MoAError


class HandoffError(MoAError):
    """An agent handed over to a node of another graph instead of returning an answer."""

    def __init__(self, command: Command[Any]) -> None:
        super().__init__(
            f"it handed over to {command.goto!r} of a graph around it (`Command(graph=…)`); "
            "expected an answer, which a mixture needs of each of its agents"
        )


@contextmanager
def capture_errors(fail: Callable[[Exception], None]) -> Iterator[None]:
    """Return any error of the block as a value: raised, it would cancel parallel calls."""
    try:
        yield
    except ParentCommand as error:
        fail(HandoffError(error.args[0]))
    except GraphBubbleUp:  # an interrupt of a subgraph
        raise
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        fail(RuntimeError(f"the call cancelled itself: {error!r}"))
    except Exception as error:  # noqa: BLE001  # whatever it is
        fail(error)


def _is_being_cancelled() -> bool:
    """Return whether the current task is being cancelled; a sync run has no task."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return bool(task and task.cancelling())
