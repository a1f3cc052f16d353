"""Run the first jobs one at a time, to stop early if all of them fail."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from moa_graph.errors import MoAError
from moa_graph.redaction import redacted_message
from moa_graph.runs.model_calls import CallRecord, call_listener

Item = TypeVar("Item")
Result = TypeVar("Result")

PROBES = 3
"""Number of first jobs whose equal failures prevent the others from starting."""
_COMPARED_CHARS = 60  # characters of a cause that are compared; text of answers comes later


class AllFailedError(MoAError, ValueError):
    """The first jobs all failed with the same cause, and the others were not started."""


class ProbedWork(Generic[Item, Result]):
    """Work whose first items run one at a time until one has succeeded.

    Args:
        work: Processes an item.
        is_probed: Whether to skip the probing, because no model is called.
    """

    def __init__(
        self, work: Callable[[Item], Awaitable[Result]], *, is_probed: bool = False
    ) -> None:
        self._work, self._is_probed = work, is_probed
        self._turn = asyncio.Lock()
        self._causes: list[str] = []

    async def run(self, item: Item) -> Result:
        """Process an item; until one has succeeded, wait for all earlier items."""
        if not self._is_probed:
            async with self._turn:
                if self._have_all_failed:
                    # `check` will end the work, which cancels this.
                    await asyncio.get_running_loop().create_future()
                if not self._is_probed:
                    return await self._run_probe(item)
        return await self._work(item)

    def check(self) -> None:
        """Check whether the other items may start.

        Raises:
            AllFailedError: If the first items all failed with the same cause.
        """
        if self._have_all_failed:
            raise AllFailedError(
                f"the first {PROBES} failed alike, so no other was started: {self._causes[-1]}"
            )

    @property
    def _have_all_failed(self) -> bool:
        return not self._is_probed and len(self._causes) >= PROBES

    async def _run_probe(self, item: Item) -> Result:
        calls = list[CallRecord]()
        try:
            with call_listener(calls.append):
                result = await self._work(item)
        except Exception as error:
            self._causes.append(redacted_message(error))
            # Different causes do not point to a common problem.
            self._is_probed = len({_cause_kind(cause) for cause in self._causes}) > 1
            raise
        # Stored answers say nothing about the present model.
        self._is_probed = any(not call.from_store for call in calls)
        return result


def _cause_kind(cause: str) -> str:
    """Return a cause without numbers and text of answers, for comparison."""
    return re.sub(r"\w*\d\w*", "#", cause)[:_COMPARED_CHARS]
