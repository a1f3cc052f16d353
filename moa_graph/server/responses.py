"""Responses that a run makes; when nobody waits for one any more, its run is cancelled."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

from sse_starlette import EventSourceResponse
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from moa_graph.server.errors import server_stopping_error

T = TypeVar("T")
EventQueue = asyncio.Queue[str | None]


async def wait_for_run(request: Request, run: asyncio.Task[T]) -> T:
    """Wait for a run, and cancel it when nobody waits for its answer any more.

    Raises:
        ClientDisconnect: If the client hung up.
        ApiError: If the server stops.
    """
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({run, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if run.cancelled():
            raise server_stopping_error()
        if not run.done():
            raise ClientDisconnect
        return run.result()
    finally:
        run.cancel()
        disconnect.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class RunResponse(EventSourceResponse):
    """A stream of the server-sent events that a run puts into a queue. They end together."""

    def __init__(
        self,
        events: EventQueue,
        run: asyncio.Task[None],
        *,
        keep_alive: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(_read_events(events), headers=headers, ping=keep_alive, sep="\n")
        run.add_done_callback(lambda _: events.put_nowait(None))
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._run.cancel()


async def _read_events(events: EventQueue) -> AsyncIterator[dict[str, str]]:
    while (event := await events.get()) is not None:
        yield {"data": event}
