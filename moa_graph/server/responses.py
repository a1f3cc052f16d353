"""Responses that a run makes; when nobody waits for one any more, its run is cancelled."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from sse_starlette import EventSourceResponse
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from moa_graph.server.errors import stopping

T = TypeVar("T")
Events = asyncio.Queue[str | None]


async def unless_hung_up(request: Request, run: asyncio.Task[T]) -> T:
    """Wait for a run, and cancel it when nobody waits for its answer any more.

    Raises:
        ClientDisconnect: If the client hung up.
        ApiError: If the server stops.
    """
    hung_up = asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait({run, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if run.cancelled():
            raise stopping()
        if not run.done():
            raise ClientDisconnect
        return run.result()
    finally:
        run.cancel()
        hung_up.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class RunResponse(EventSourceResponse):
    """A stream of the server-sent events that a run puts into a queue. They end together."""

    def __init__(self, events: Events, run: asyncio.Task[None], *, keep_alive: float) -> None:
        super().__init__(_read(events), ping=keep_alive, sep="\n")
        run.add_done_callback(lambda _: events.put_nowait(None))
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._run.cancel()


async def _read(events: Events) -> AsyncIterator[dict[str, str]]:
    while (event := await events.get()) is not None:
        yield {"data": event}
