"""`CallGroup`: concurrent calls that share one set of proposals, such as `n` answers."""

import asyncio
import threading
from concurrent.futures import Future
from functools import partial

from moa_graph.chat_model.local_proposals import ProposalEntry
from moa_graph.sync_async import Flow, Step

CALL_GROUP = "__moa_call_group"
"""Key in `configurable` of the `CallGroup` of a call. LangChain does not trace its value."""


class CallGroup:
    """Calls that share one set of proposals: the first call requests it, the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_led = False
        self._proposal_set = Future[ProposalEntry]()
        self._proposal_set.set_running_or_notify_cancel()  # a waiting call cannot cancel it

    def claim(self) -> bool:
        """Return whether the caller is the first one, which must call `share` or `fail`."""
        with self._lock:
            is_first, self._is_led = not self._is_led, True
            return is_first

    def wait(self) -> Flow[ProposalEntry]:
        """Wait for the set of proposals of the first call, and return it.

        Raises:
            Exception: The error of the first call.
        """
        entry: ProposalEntry = yield Step(
            self._proposal_set.result, partial(asyncio.wrap_future, self._proposal_set)
        )
        return entry

    def share(self, entry: ProposalEntry) -> None:
        """Pass the set of proposals to the waiting calls."""
        if not self._proposal_set.done():
            self._proposal_set.set_result(entry)

    def fail(self, error: Exception) -> None:
        """Pass an error to the waiting calls."""
        if not self._proposal_set.done():
            self._proposal_set.set_exception(error)
