"""Start and stop the HTTP server."""

import asyncio
import logging
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

logger = logging.getLogger("moa_graph.server")

_LOOK_SECONDS = 0.1  # seconds between checks whether runs have ended
_BACKLOG = 256  # connections that the system queues; asyncio accepts as many at once
SHUTDOWN_TIMEOUT_S = 3  # seconds for runs to clean up, and for connections to end


class GracefulServer(uvicorn.Server):
    """A server that ends its runs when it stops, and then returns normally."""

    def __init__(
        self,
        app: Starlette,
        service: MixtureService,
        limits: ConnectionLimits | None = None,
        *,
        drain: float = 0.0,
    ) -> None:
        """Create the server.

        Args:
            app: The application.
            service: The service whose runs end with the server.
            limits: Limits of connections.
            drain: Seconds that runs may continue after SIGTERM.
        """
        limits = limits or ConnectionLimits()
        AppStatus.enable_automatic_graceful_drain = False  # streams end with an error event
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
        self._service, self._drain_seconds, self._drains = service, drain, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the first SIGTERM waits for runs, Ctrl-C cancels them."""
        self.force_exit = self.should_exit and not self._drains and sig == signal.SIGINT
        self._drains = not self.should_exit and sig == signal.SIGTERM and self._drain_seconds > 0
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the runs, and then the connections."""
        await self._drain_runs()
        await self._service.stop_runs(SHUTDOWN_TIMEOUT_S)
        await super().shutdown(sockets)

    async def _drain_runs(self) -> None:
        """Start no more runs, and wait for running ones; other requests are still answered."""
        if not (self._drains and self._service.runs):
            return
        self._service.is_stopping = True
        logger.info("no more runs are started; running ones have %g s", self._drain_seconds)
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._drain_seconds
        while self._drains and self._service.runs and loop.time() < ends:
            await self.on_tick(0)  # updates the `Date` header of responses
            await asyncio.sleep(_LOOK_SECONDS)


def open_socket(host: str, port: int) -> socket.socket:
    """Open the socket before slow steps, so that a used port is reported first.

    Raises:
        OSError: If the address is not available.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    sock = socket.create_server((host, port), family=family)
    # Inherited by connections. Without it, a body waits 40 ms for the acknowledgement of headers.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
