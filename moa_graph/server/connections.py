"""Limits of connections before authentication: bytes, seconds, number.

uvicorn limits the bytes of a request's headers (with h11), and the idle time between two requests.
It does not limit the time for the headers, a body in tiny pieces, the rest of a request that was
already answered, an answer that the client does not read, or the number of connections up to which
`GET /health` is answered.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from moa_graph.server.errors import ApiError

logger = logging.getLogger("moa_graph.server")

HEALTH_PATH = "/health"
_FED_BYTES = 16_384  # h11 checks the length of the headers only after each piece
_SPARE_CONNECTIONS = 16  # extra connections for `HEALTH_PATH`
_SMALL_BYTES = 64


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections."""

    connections: int = 512
    """Maximum number of open connections."""
    head_bytes: int = 32_768
    """Maximum bytes of request line and headers. Browsers send the cookies of all local servers."""
    head_seconds: float = 10.0
    """Maximum number of seconds for request line and headers."""
    unread_seconds: float = 60.0
    """Maximum number of seconds in which a client reads nothing of an answer."""
    rest_seconds: float = 2.0
    """Seconds for the rest of a body after an early answer."""
    small_pieces: int = 4000
    """Maximum number of body pieces below 64 bytes, which cost as much as large ones."""


class BoundedParser(h11.Connection):
    """An HTTP parser that limits the number of small pieces of a body."""

    def __init__(self, max_incomplete_event_size: int, small_pieces: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size)
        self._limit, self._small_pieces = small_pieces, 0
        self.excess: str | None = None
        """The limit that was exceeded."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event.

        Raises:
            RemoteProtocolError: If a limit is exceeded, or the data is not HTTP.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._small_pieces = 0
        elif isinstance(event, h11.Data) and len(event.data) < _SMALL_BYTES:
            self._small_pieces += 1
            if self._small_pieces > self._limit:
                pieces = f"more than {self._limit:,} pieces of less than {_SMALL_BYTES} bytes"
                self.excess = f"the body came in {pieces}"
                raise h11.RemoteProtocolError(self.excess)
        return event


class BoundedConnection(H11Protocol):
    """A connection that is closed when its client is too slow.

    If there are too many connections, the one that has waited longest for its client is closed.
    Therefore a client that sends its request immediately is always answered.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits, self._is_spare = limits, False
        self.conn = self._parser = BoundedParser(limits.head_bytes, limits.small_pieces)
        self.awaited: str | None = None
        """The action of the client that is awaited: `head`, `rest` or `reading`."""
        self.waiting_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._answer = self.app
        self.app = self._answer_if_there_is_room

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection; if there are too many, close another one."""
        super().connection_made(transport)
        self._update_deadline()
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        super().connection_lost(exc)
        self._set_deadline(None)

    def data_received(self, data: bytes) -> None:
        """Parse in pieces, to enforce the header limit; drop data that is not needed."""
        if self.awaited == "rest":
            return
        for start in range(0, len(data), _FED_BYTES):
            if self.transport.is_closing() or self.awaited == "rest":
                return
            super().data_received(data[start : start + _FED_BYTES])
        self._update_deadline()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._update_deadline()
        if self.awaited == "rest" and self.transport.can_write_eof():
            self.transport.write_eof()  # closing with unread bytes would discard the answer

    def pause_writing(self) -> None:
        """Wait until the client reads."""
        super().pause_writing()
        self._update_deadline()

    def resume_writing(self) -> None:
        """Continue writing."""
        super().resume_writing()
        self._update_deadline()

    def send_400_response(self, msg: str) -> None:
        """Reject data that is not HTTP, or exceeds a limit."""
        limit = self._limits.head_bytes
        if self._parser.excess:
            self._refuse(ApiError(400, self._parser.excess, code="too_many_pieces"))
        elif len(self.conn.trailing_data[0]) > limit:
            message = f"the request line and the headers have more than {limit:,} bytes"
            self._refuse(ApiError(431, message, code="headers_too_large"))
        else:
            self._refuse(ApiError(400, msg, code="invalid_http"))

    def _awaited_of_client(self) -> str | None:
        """Return the awaited action of the client, if the connection waits for it."""
        if self.cycle is None or self.cycle.response_complete:
            return "rest" if self.conn.their_state is h11.SEND_BODY else "head"
        return "reading" if self.flow.write_paused else None

    def _update_deadline(self) -> None:
        if (awaited := self._awaited_of_client()) != self.awaited:
            self._set_deadline(awaited)

    def _set_deadline(self, awaited: str | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        self.awaited, self.waiting_since, self._deadline = awaited, self.loop.time(), None
        if awaited:
            limits = self._limits
            seconds = {
                "head": limits.head_seconds,
                "rest": limits.rest_seconds,
                "reading": limits.unread_seconds,
            }
            self._deadline = self.loop.call_later(seconds[awaited], self._on_deadline)

    def _on_deadline(self) -> None:
        has_begun = bool(self.conn.trailing_data[0])
        if self.awaited == "head" and has_begun and not self.transport.get_write_buffer_size():
            message = f"the headers did not come within {self._limits.head_seconds:g} s"
            self._refuse(ApiError(408, message, code="request_timeout"))
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        waiting = (each for each in self.connections if isinstance(each, BoundedConnection))
        others = [each for each in waiting if each.awaited and each is not self]
        if others:
            oldest = min(others, key=lambda each: each.waiting_since)
            self.connections.discard(oldest)
            oldest.transport.abort()
        elif len(self.connections) > self._limits.connections + _SPARE_CONNECTIONS:
            self.transport.abort()
        else:
            self._is_spare = True

    async def _answer_if_there_is_room(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_spare or scope["path"] == HEALTH_PATH:
            await self._answer(scope, receive, send)
            return
        message = f"{self._limits.connections} connections are in use, which is the most"
        headers = {"connection": "close", "retry-after": "2"}
        error = ApiError(503, message, code="too_many_connections", headers=headers)
        await error.to_response(scope)(scope, receive, send)

    def _refuse(self, error: ApiError) -> None:
        """Send an error without the application, and close the connection."""
        host = self.client[0] if self.client else "-"
        logger.info("%s %s %s", host, error.status, error)
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            response = error.to_response()
            headers = [*response.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=error.status, headers=headers),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle:  # an answer of the application would be a second one
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
