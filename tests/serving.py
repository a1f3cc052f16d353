"""A `moa serve` in a thread of the test's own: the real application on a real uvicorn."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import httpx
from langgraph.checkpoint.memory import InMemorySaver
from waiting import PATIENCE, wait_for

from moa_graph import MoAConfig
from moa_graph.runs.store import RunStore
from moa_graph.server import server
from moa_graph.server.app import create_app
from moa_graph.server.auth import ApiKey
from moa_graph.server.connections import ConnectionLimits
from moa_graph.server.service import ApiOptions, MixtureService, ServerLimits
from moa_graph.server.telemetry import ServerTelemetry

server.SHUTDOWN_TIMEOUT_S = PATIENCE  # a busy machine takes longer than a person waits

# Certificates take a while to load. A server closes a connection that has been idle for some
# seconds, which may be just when the next request is sent: so none is kept.
http = httpx.Client(
    verify=False, timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0)
)
"""A client for all tests of servers, which are each at a port of its own."""


class Serving:
    """The server; it ends with the `with` block."""

    def __init__(
        self,
        *mixtures: MoAConfig,
        store: RunStore | None = None,
        limits: ServerLimits | None = None,
        connections: ConnectionLimits | None = None,
        api: ApiOptions | None = None,
        api_key: str | None = None,
        telemetry: dict[str, Any] | None = None,
        drain: float = 0.0,
        without_keys: Sequence[MoAConfig] = (),
        **access: Any,
    ) -> None:
        named = {each.name: each for each in mixtures}
        self.service = MixtureService(
            named,
            store=store,
            limits=limits,
            api=api,
            telemetry=ServerTelemetry(named, **telemetry) if telemetry else None,
            without_keys=without_keys,
        )
        keys = {"api_keys": [ApiKey(api_key)]} if api_key else {}
        app = create_app(self.service, **keys, **access)
        self._socket = server.open_socket("127.0.0.1", 0)
        self._server = server.GracefulServer(app, self.service, connections, drain=drain)
        self._loop: Any = None
        self._thread = threading.Thread(target=self._run)

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop its event loop for the block: all that is sent meanwhile, it reads at once."""
        wait_for(lambda: self._loop)
        go_on = threading.Event()
        self._loop.call_soon_threadsafe(go_on.wait)
        try:
            yield
        finally:
            go_on.set()

    def stop(self) -> None:
        """Ask it to stop, and not to wait."""
        self._server.should_exit = True

    def signal(self, number: int) -> None:
        """Do what it does when a signal comes."""
        self._server.handle_exit(number, None)

    def _run(self) -> None:
        with self._socket, asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._server.serve(sockets=[self._socket]))


def memory_store(held: set[str] | None = None) -> RunStore:
    """Make a store of threads in memory, in which some are held by another process."""

    @asynccontextmanager
    async def hold(name: str):
        yield name not in (held or ())

    return RunStore(InMemorySaver(), hold)
