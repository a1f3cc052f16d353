"""A `moa serve` in a thread of the test's own: the real application on a real uvicorn."""

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import Any, Self

from langgraph.checkpoint.memory import InMemorySaver
from waiting import PATIENCE

from moa_graph import MoAConfig
from moa_graph.runs.store import RunStore
from moa_graph.server import server
from moa_graph.server.app import create_app
from moa_graph.server.auth import ApiKey
from moa_graph.server.connections import ConnectionLimits
from moa_graph.server.service import ApiOptions, MixtureService, ServerLimits

server.SHUTDOWN_TIMEOUT_S = PATIENCE  # a busy machine takes longer than a person waits


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
        **access: Any,
    ) -> None:
        self.service = MixtureService(
            {each.name: each for each in mixtures}, store=store, limits=limits, api=api
        )
        self._socket = server.open_socket("127.0.0.1", 0)
        keys = {"api_keys": [ApiKey(api_key)]} if api_key else {}
        app = create_app(self.service, **keys, **access)
        self._server = server.GracefulServer(app, self.service, connections)
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

    def stop(self) -> None:
        """Ask it to stop, as a signal does."""
        self._server.should_exit = True

    def _run(self) -> None:
        with self._socket:
            asyncio.run(self._server.serve(sockets=[self._socket]))


def memory_store(held: set[str] | None = None) -> RunStore:
    """Make a store of threads in memory, in which some are held by another process."""

    @asynccontextmanager
    async def hold(name: str):
        yield name not in (held or ())

    return RunStore(InMemorySaver(), hold)
