"""Find out with the first jobs of many whether any of them can succeed, before much is spent."""

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
"""Jobs that must fail alike, none having succeeded, for the others not to be begun."""
_COMPARED_CHARS = 60  # characters of a cause; what an answer said comes later in it


class AllFailedError(MoAError, ValueError):
    """The first jobs all failed alike, and the others were not begun."""


class ProbedWork(Generic[Item, Result]):
    """Work on items of which the first run one at a time, until one has succeeded.

    Args:
        work: What is done with an item.
    """

    def __init__(self, work: Callable[[Item], Awaitable[Result]]) -> None:
        self._work, self._is_probed = work, False
        self._turn = asyncio.Lock()
        self._causes: list[str] = []

    async def run(self, item: Item) -> Result:
        """Do the work; as long as none has succeeded, when all that began before have ended."""
        if not self._is_probed:
            async with self._turn:
                if self._have_all_failed:
                    # `check` is about to end the work, which cancels this.
                    await asyncio.get_running_loop().create_future()
                if not self._is_probed:
                    return await self._run_probe(item)
        return await self._work(item)

    def check(self) -> None:
        """See whether the others may begin.

        Raises:
            AllFailedError: If the first all failed alike.
        """
        if self._have_all_failed:
            raise AllFailedError(
                f"the first {PROBES} failed alike, so no other was begun: {self._causes[-1]}"
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
            # Where causes differ, it is not what all items have in common.
            self._is_probed = len({_cause_kind(cause) for cause in self._causes}) > 1
            raise
        # What was stored before tells nothing of who is asked now.
        self._is_probed = any(not call.from_store for call in calls)
        return result


def _cause_kind(cause: str) -> str:
    """Give what causes of one kind share: numbers and what an answer said differ."""
    return re.sub(r"\w*\d\w*", "#", cause)[:_COMPARED_CHARS]
