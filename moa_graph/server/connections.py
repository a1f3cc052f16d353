"""What a connection may take before anybody has shown a key: bytes, seconds, a place.

uvicorn bounds the bytes of a request's head (with h11) and how long a connection idles between two
requests. It has no bound for a head that does not come, for an answer that nobody reads, or for
the number of connections under which `GET /health` is still answered.
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
_FED_BYTES = 16_384  # h11 looks at the length of a head when it has read what it was given
_SPARE_CONNECTIONS = 16  # beyond the limit, for `HEALTH_PATH`


@dataclass(frozen=True)
class ConnectionLimits:
    """What connections may take."""

    connections: int = 512
    """Connections at the same time."""
    head_bytes: int = 32_768
    """Bytes of the lines before a body. Browsers send the cookies of all servers of `localhost`."""
    head_seconds: float = 10.0
    """Seconds in which these lines must have come."""
    unread_seconds: float = 60.0
    """Seconds in which a client must have read something of an answer."""


class BoundedConnection(H11Protocol):
    """A connection that ends when its client does not do its part in time.

    Where there are too many, the one goes that has waited longest for its client: who connects
    and sends a request at once is answered, however many others only hold a connection.
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
        self.awaited: str | None = None
        """What only the client can do, if that is waited for: `head` or `reading`."""
        self.waiting_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._answer = self.app
        self.app = self._answer_if_there_is_room

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, perhaps that of another connection."""
        super().connection_made(transport)
        self._update_deadline()
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        super().connection_lost(exc)
        self._set_deadline(None)

    def data_received(self, data: bytes) -> None:
        """Read in pieces, so that the bound of a head is kept."""
        for start in range(0, len(data), _FED_BYTES):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + _FED_BYTES])
        self._update_deadline()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._update_deadline()

    def pause_writing(self) -> None:
        """Wait until the client reads."""
        super().pause_writing()
        self._update_deadline()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._update_deadline()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or too long."""
        limit = self._limits.head_bytes
        if len(self.conn.trailing_data[0]) > limit:
            message = f"the request line and the headers have more than {limit:,} bytes"
            self._refuse(ApiError(431, message, code="headers_too_large"))
        else:
            self._refuse(ApiError(400, msg, code="invalid_http"))

    def _awaited_of_client(self) -> str | None:
        """Name what only the client can do, if that is what the connection waits for."""
        if self.cycle is None or self.cycle.response_complete:
            return "head"
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
            seconds = limits.head_seconds if awaited == "head" else limits.unread_seconds
            self._deadline = self.loop.call_later(seconds, self._on_deadline)

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
        await error.to_response()(scope, receive, send)

    def _refuse(self, error: ApiError) -> None:
        """Answer what the application never sees, and close."""
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
        self.transport.close()
