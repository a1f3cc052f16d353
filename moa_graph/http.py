"""One pool of HTTP connections for all models of a process, on any number of event loops."""

import asyncio
import atexit
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

_Pool = DefaultAsyncHttpxClient


class LoopAwareClient(DefaultAsyncHttpxClient):
    """An async HTTP client that keeps a pool of connections for each event loop.

    A connection lives and dies with its loop: a client that is shared by two `asyncio.run`
    fails in the second with "Event loop is closed".
    """

    def __init__(self) -> None:
        super().__init__()
        self._pools: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[_Pool, AsyncGenerator[_Pool, None]]
        ] = WeakKeyDictionary()

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request through the pool of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            pool = _Pool()
            closer = _close_with_loop(pool)
            self._pools[loop] = (pool, closer)
            await anext(closer)
        return await self._pools[loop][0].send(request, **options)


async def _close_with_loop(pool: _Pool) -> AsyncGenerator[_Pool, None]:
    """Hold a pool open until the loop shuts down its generators, as `asyncio.run` does last."""
    async with pool:
        yield pool


@cache
def _sync_client() -> DefaultHttpxClient:
    client = DefaultHttpxClient()
    atexit.register(client.close)
    return client


@cache
def _async_client() -> LoopAwareClient:
    return LoopAwareClient()


def shared_clients() -> dict[str, Any]:
    """Give the HTTP clients that every model built from a name uses."""
    return {"http_client": _sync_client(), "http_async_client": _async_client()}


def on_any_loop(model: Any) -> Any:
    """Let a chat model of the `langchain-openai` family work on more than one event loop.

    Args:
        model: A chat model. One that was given an async HTTP client of its own keeps it.

    Returns:
        A copy that shares the connections of this module, or the model itself.
    """
    client = getattr(model, "root_async_client", None)
    if client is None or getattr(model, "http_async_client", None) is not None:
        return model
    client = client.copy(http_client=_async_client())
    return model.model_copy(
        update={"root_async_client": client, "async_client": client.chat.completions}
    )
