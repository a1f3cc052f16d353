"""One pool of HTTP connections for all models of a process, on any number of event loops."""

import asyncio
import atexit
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any

from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

from moa_graph.secrecy import SHORTEST, without_keys

_Pool = DefaultAsyncHttpxClient


class DiscreetClient(DefaultHttpxClient):
    """A sync HTTP client that blots the key out of responses: some providers repeat it."""

    def send(self, request: Any, **options: Any) -> Any:
        """Send a request."""
        response = super().send(request, **options)
        if response.is_error:
            response.read()
        return _without_key(request, response)


class LoopAwareClient(DefaultAsyncHttpxClient):
    """An async HTTP client, discreet alike, that keeps a pool of connections for each event loop.

    A connection lives and dies with its loop: a client that is shared by two `asyncio.run`
    fails in the second with "Event loop is closed".
    """

    def __init__(self) -> None:
        super().__init__()
        self._pools: dict[asyncio.AbstractEventLoop, tuple[_Pool, AsyncGenerator[None, None]]] = {}

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request through the pool of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            await self._open(loop)
        response = await self._pools[loop][0].send(request, **options)
        if response.is_error:
            await response.aread()
        return _without_key(request, response)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        for other in [other for other in self._pools if other.is_closed()]:
            self._pools.pop(other, None)
        pool = _Pool()
        closing = self._close_with(loop, pool)
        self._pools[loop] = (pool, closing)
        await anext(closing)

    async def _close_with(
        self, loop: asyncio.AbstractEventLoop, pool: _Pool
    ) -> AsyncGenerator[None, None]:
        """Hold a pool open until the loop shuts down its generators, as `asyncio.run` does."""
        try:
            async with pool:
                yield
        finally:
            self._pools.pop(loop, None)


def _without_key(request: Any, response: Any) -> Any:
    """Copy a response that repeats the key of its request; what streams is left as it is."""
    if not response.is_closed:
        return response
    sent = (request.headers.get(name, "") for name in ("authorization", "api-key", "x-api-key"))
    keys = [key for value in sent if len(key := value.removeprefix("Bearer ")) >= SHORTEST]
    told = (response.content, str(response.headers).encode())
    if not any(key.encode() in part for key in keys for part in told):
        return response
    kept = {
        name: without_keys(value, *keys)
        for name, value in response.headers.items()
        if name not in {"content-encoding", "content-length", "transfer-encoding"}
    }
    content = without_keys(response.text, *keys)
    return type(response)(response.status_code, headers=kept, text=content, request=request)


@cache
def _sync_client() -> DiscreetClient:
    client = DiscreetClient()
    atexit.register(client.close)
    return client


@cache
def _async_client() -> LoopAwareClient:
    return LoopAwareClient()


def shared_clients() -> dict[str, Any]:
    """Give the HTTP clients that every model built from a name uses."""
    return {"http_client": _sync_client(), "http_async_client": _async_client()}


def share_clients(model: Any) -> Any:
    """Let a chat model of the `langchain-openai` family use the HTTP clients of this module.

    Args:
        model: A chat model. One that was given HTTP clients of its own keeps them.

    Returns:
        A copy that shares the connections of this module, or the model itself.
    """
    update: dict[str, Any] = {}
    if model.root_async_client and model.http_async_client is None:
        client = model.root_async_client.copy(http_client=_async_client())
        update |= {"root_async_client": client, "async_client": client.chat.completions}
    if model.root_client and model.http_client is None:
        client = model.root_client.copy(http_client=_sync_client())
        update |= {"root_client": client, "client": client.chat.completions}
    return model.model_copy(update=update)
