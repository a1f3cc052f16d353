"""Listen, and stop well."""

import signal
import socket
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette

from moa_graph.server.connections import BoundedConnection, ConnectionLimits
from moa_graph.server.service import MixtureService

_BACKLOG = 256  # connections that the system accepts meanwhile; asyncio takes as many at a time
SHUTDOWN_TIMEOUT_S = 3  # seconds for runs to clean up, and again for connections to end


class GracefulServer(uvicorn.Server):
    """A server that ends the runs when it stops, and returns as if nothing had happened."""

    def __init__(
        self, app: Starlette, service: MixtureService, limits: ConnectionLimits | None = None
    ) -> None:
        limits = limits or ConnectionLimits()
        AppStatus.enable_automatic_graceful_drain = (
            False  # a stream ends with its run, and says why
        )
        config = uvicorn.Config(
            app,
            http=cast("Any", partial(BoundedConnection, limits=limits)),
            h11_max_incomplete_event_size=limits.head_bytes,
            backlog=_BACKLOG,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        )
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop; at a second Ctrl-C, at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the runs, then the connections."""
        await self._service.stop_runs(SHUTDOWN_TIMEOUT_S)
        await super().shutdown(sockets)


def open_socket(host: str, port: int) -> socket.socket:
    """Open the socket, so that a taken port shows before anything else.

    Raises:
        OSError: If that cannot be.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    sock = socket.create_server((host, port), family=family)
    # What is accepted inherits it. Without it an answer's body waits 40 ms for its head's receipt.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
