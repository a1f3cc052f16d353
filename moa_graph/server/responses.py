"""Responses of runs, which are cancelled when the client disconnects."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, TypeVar

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from moa_graph.server.errors import server_stopping_error

T = TypeVar("T")


class ServerEvent(NamedTuple):
    """A server-sent event."""

    data: str
    event: str | None = None
    """Name of the event, in dialects with named events."""


EventQueue = asyncio.Queue[ServerEvent | None]


async def wait_for_run(request: Request, run: asyncio.Task[T]) -> T:
    """Wait for a run, and cancel it if the client disconnects.

    Raises:
        ClientDisconnect: If the client disconnected.
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
    """A stream of the server-sent events in a queue of a run. Both end together."""

    def __init__(
        self,
        events: EventQueue,
        run: asyncio.Task[None],
        *,
        keep_alive: float,
        ping: ServerEvent | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Create the stream.

        Args:
            events: The events, and `None` at the end.
            run: The task that produces them.
            keep_alive: Seconds after which a silent stream sends a ping.
            ping: The event of the ping; by default a comment.
            headers: Further headers.
        """
        super().__init__(
            _read_events(events),
            headers=headers,
            ping=keep_alive,
            ping_message_factory=(lambda: ServerSentEvent(ping.data, event=ping.event, sep="\n"))
            if ping
            else None,
            sep="\n",
        )
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
        yield {name: value for name, value in event._asdict().items() if value is not None}
