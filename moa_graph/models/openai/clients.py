"""HTTP clients that share one pool of connections for each event loop.

A forked process opens its own pools: on a connection of its parent, it would read responses to the
parent's requests.
"""

import asyncio
import atexit
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Any
from urllib.request import getproxies

from httpx2 import (
    URL,
    AsyncBaseTransport,
    BaseTransport,
    Headers,
    Limits,
    Request,
    Response,
    Timeout,
    TooManyRedirects,
)
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAIError

from moa_graph.connection_failures import bare_address
from moa_graph.errors import MoAError
from moa_graph.fair_scheduling import wait_for_turn
from moa_graph.models.openai.aiohttp_transport import (
    KEEP_ALIVE_S,
    AiohttpTransport,
    OneShotBody,
    check_certificates,
    check_proxies,
    default_ssl_context,
)
from moa_graph.models.openai.response_limits import aread_response, limit_stream, read_response
from moa_graph.redaction import MIN_KEY_CHARS, redact

MAX_CONNECTIONS_VARIABLE = "MOA_MAX_CONNECTIONS"
"""Environment variable with the maximum number of connections to one endpoint and event loop."""

CONNECT_TIMEOUT_S = 30.0
"""Connect timeout in seconds: a reachable server needs less than one."""

_RESERVED_FILES = 128  # reserved for other files of the process
_Pool = DefaultAsyncHttpxClient
_PoolKey = tuple[int, asyncio.AbstractEventLoop]  # process id and event loop
_TemplateKey = tuple[str, str, tuple[tuple[str, str], ...]]  # method, URL, headers
_MAX_TEMPLATES = 256
_TEMPLATE_OPTIONS = {"method", "url", "headers", "params", "timeout", "content", "files"}


def _template_key(options: Mapping[str, Any]) -> _TemplateKey | None:
    """Return a key shared by requests that differ only in body and timeout; `None` for others."""
    is_plain = options.keys() == _TEMPLATE_OPTIONS - ({"files"} - options.keys())
    if not is_plain or options["params"] or options.get("files"):
        return None
    if not isinstance(options["content"], bytes) or not isinstance(options["headers"], list):
        return None
    return options["method"], options["url"], tuple(options["headers"])


class KeyRedactingClient(DefaultHttpxClient):
    """A sync HTTP client that redacts the key in responses, because some providers repeat it.

    Args:
        proxy: The proxy of all requests; by default that of the environment.
    """

    def __init__(self, proxy: str | None = None) -> None:
        super().__init__(transport=BaseTransport())  # pools have their own transports
        self._proxy = proxy
        self._pools: dict[int, DefaultHttpxClient] = {}

    def send(self, request: Any, **options: Any) -> Any:
        """Send a request through the pool of this process."""
        process = os.getpid()
        if process not in self._pools:
            self._pools.setdefault(
                process,
                DefaultHttpxClient(
                    limits=_connection_limits(), verify=default_ssl_context(), proxy=self._proxy
                ),
            )
        streamed = options.pop("stream", False)
        with _refuse_redirect_loops(request):
            response = self._pools[process].send(request, stream=True, **options)
        if response.is_error or not streamed:
            response = read_response(response)
        else:
            limit_stream(response)
        return _redact_response(request, response)

    def close(self) -> None:
        """Close the pool of this process."""
        if pool := self._pools.pop(os.getpid(), None):
            pool.close()


class RedirectLoopError(MoAError, OpenAIError):
    """A server redirects endlessly, so a retry would fail too."""


@contextmanager
def _refuse_redirect_loops(request: Request) -> Iterator[None]:
    try:
        yield
    except TooManyRedirects as error:
        raise RedirectLoopError(
            f"{bare_address(str(request.url))} redirects endlessly; check the address"
        ) from error


_sent_before: ContextVar[Response | Exception | None] = ContextVar("sent before", default=None)


@contextmanager
def sent_before(outcome: Response | Exception) -> Iterator[None]:
    """Use a known outcome for the next request of this context instead of sending it."""
    token = _sent_before.set(outcome)
    try:
        yield
    finally:
        _sent_before.reset(token)


class PerLoopAsyncClient(DefaultAsyncHttpxClient):
    """An async HTTP client that redacts keys and has a pool of connections for each event loop.

    A connection belongs to its event loop: a client shared by two `asyncio.run` calls fails in the
    second one with "Event loop is closed".

    Args:
        proxy: The proxy of all requests; by default that of the environment.
    """

    def __init__(self, proxy: str | None = None) -> None:
        super().__init__(transport=AsyncBaseTransport())  # pools have their own transports
        self._proxy = proxy
        self._pools: dict[_PoolKey, tuple[_Pool, AsyncGenerator[None, None]]] = {}
        self._known_non_redirecting: set[URL] = set()  # endpoints without redirects
        self._templates: dict[_TemplateKey | None, Request] = {}  # requests without their bodies

    def build_request(self, *args: Any, **options: Any) -> Request:
        """Build a request whose body is released once it is sent, because answers take long.

        A request similar to an earlier one is built from it: only body and timeout differ.
        """
        key = None if args else _template_key(options)
        if (request := self._templates.get(key)) and request.url in self._known_non_redirecting:
            content, timeout = options["content"], Timeout(options["timeout"])
            headers = Headers(request.headers, encoding=request.headers.encoding)
            extensions = {"timeout": timeout.as_dict()}
            headers["content-length"] = f"{len(content)}"
        else:
            request = super().build_request(*args, **options)
            if request.url not in self._known_non_redirecting:
                return request
            content, headers, extensions = request.read(), request.headers, request.extensions
            if key:
                self._keep_template(key, request)
        url = request.url
        body = OneShotBody(content, lambda: self.expect_redirect(url))
        return Request(request.method, url, headers=headers, stream=body, extensions=extensions)

    def _keep_template(self, key: _TemplateKey, request: Request) -> None:
        if len(self._templates) >= _MAX_TEMPLATES:
            self._templates.clear()
        self._templates[key] = Request(request.method, request.url, headers=request.headers)

    def expect_redirect(self, url: URL) -> None:
        """Record that an address redirects, so that its requests keep their bodies."""
        self._known_non_redirecting.discard(url)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request through the pool of the running loop, unless its outcome is known."""
        if outcome := _sent_before.get():
            _sent_before.set(None)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        pool_key = (os.getpid(), asyncio.get_running_loop())
        if pool_key not in self._pools:
            await self._open_pool(pool_key)
        streamed = options.pop("stream", False)
        with _refuse_redirect_loops(request):
            response = await self._pools[pool_key][0].send(request, stream=True, **options)
        await wait_for_turn()
        if not response.history:
            self._known_non_redirecting.add(request.url)
        if response.is_error or not streamed:
            response = await aread_response(response)
        else:
            limit_stream(response)
        return _redact_response(request, response)

    def close_stale_pools(self) -> None:
        """Close the pools of closed event loops, which have no pending requests."""
        for pool_key in list(self._pools):
            process, loop = pool_key
            if (
                process == os.getpid()
                and loop.is_closed()
                and (left := self._pools.pop(pool_key, None))
            ):
                with suppress(StopIteration, RuntimeError):
                    left[0].aclose().send(None)

    async def _open_pool(self, pool_key: _PoolKey) -> None:
        self.close_stale_pools()
        pool = _new_pool(self._proxy)
        closing = self._hold_pool_open(pool_key, pool)
        self._pools[pool_key] = (pool, closing)
        await anext(closing)

    async def _hold_pool_open(self, pool_key: _PoolKey, pool: _Pool) -> AsyncGenerator[None, None]:
        """Keep a pool open until the loop shuts down async generators, as `asyncio.run` does."""
        try:
            async with pool:
                yield
        finally:
            self._pools.pop(pool_key, None)


def read_max_connections() -> int:
    """Return the maximum number of connections to one endpoint: `MOA_MAX_CONNECTIONS`, or 1000.

    Raises:
        ValueError: If it is not a number above 0.
    """
    value = os.environ.get(MAX_CONNECTIONS_VARIABLE) or "1000"
    if not value.isdecimal() or not int(value):
        raise ValueError(
            f"{MAX_CONNECTIONS_VARIABLE}={value!r}: expected a number of connections above 0"
        )
    return int(value)


def _new_pool(proxy: str | None) -> _Pool:
    proxies = [proxy] if proxy else getproxies().values()
    if any(each.startswith("socks") for each in proxies):
        return _Pool(limits=_connection_limits(), proxy=proxy)  # aiohttp does not support SOCKS
    transport = AiohttpTransport(read_max_connections(), _max_open_connections())
    return _Pool(transport=transport, mounts=transport.mounts(proxy))


def _connection_limits() -> Limits:
    most = min(read_max_connections(), _max_open_connections())
    return Limits(
        max_connections=most, max_keepalive_connections=most, keepalive_expiry=KEEP_ALIVE_S
    )


def _max_open_connections() -> int:
    """Return how many connections this process can open to all endpoints."""
    if find_spec("resource") is None:  # not on Windows
        return 8000
    from resource import RLIMIT_NOFILE, getrlimit  # noqa: PLC0415

    allowed = getrlimit(RLIMIT_NOFILE)[0]
    return max(allowed - _RESERVED_FILES, 64) if allowed > 0 else 100_000


def _redact_response(request: Any, response: Any) -> Any:
    """Copy a response that repeats the key of its request; streams are not changed."""
    if not response.is_closed:
        return response
    sent = (request.headers.get(name, "") for name in ("authorization", "api-key", "x-api-key"))
    keys = [key for value in sent if len(key := value.removeprefix("Bearer ")) >= MIN_KEY_CHARS]
    response_parts = (response.content, *(value for _, value in response.headers.raw))
    if not any(key.encode() in part for key in keys for part in response_parts):
        return response
    headers = {
        name: redact(value, *keys)
        for name, value in response.headers.items()
        if name not in {"content-encoding", "content-length", "transfer-encoding"}
    }
    content = redact(response.text, *keys)
    return type(response)(response.status_code, headers=headers, text=content, request=request)


@cache
def _sync_client(proxy: str | None = None) -> KeyRedactingClient:
    client = KeyRedactingClient(proxy)
    atexit.register(client.close)
    return client


@cache
def _async_client(proxy: str | None = None) -> PerLoopAsyncClient:
    client = PerLoopAsyncClient(proxy)
    atexit.register(client.close_stale_pools)
    return client


def shared_clients(openai_proxy: str | None = None) -> dict[str, Any]:
    """Return the HTTP clients that all models built from names share, as model options.

    Args:
        openai_proxy: Value of `OPENAI_PROXY`, for models of OpenAI itself.

    Raises:
        ImportError: If a proxy needs a package that is not installed.
        ValueError: If `MOA_MAX_CONNECTIONS` is not a number above 0, or a variable contains an
            invalid proxy or certificate file.
    """
    read_max_connections()
    check_certificates()
    check_proxies({"OPENAI_PROXY": openai_proxy} if openai_proxy else None)
    return {
        "http_client": _sync_client(openai_proxy),
        "http_async_client": _async_client(openai_proxy),
        "http_socket_options": (),  # avoids a warning of LangChain about proxies
    }


def bound_requests(model: Any, seconds: float) -> None:
    """Set the timeout of the requests of a new chat model, which LangChain builds without one.

    Args:
        model: A chat model of the `langchain-openai` family.
        seconds: Maximum number of seconds between bytes of a response.
    """
    timeout = Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))
    model.root_client.timeout = model.root_async_client.timeout = timeout


def ask_once(model: Any) -> Any:
    """Copy a chat model of the `langchain-openai` family without the retries of its clients."""
    update: dict[str, Any] = {}
    if model.root_async_client:
        client = model.root_async_client.copy(max_retries=0)
        update |= {"root_async_client": client, "async_client": client.chat.completions}
    if model.root_client:
        client = model.root_client.copy(max_retries=0)
        update |= {"root_client": client, "client": client.chat.completions}
    return model.model_copy(update=update)


def share_clients(model: Any) -> Any:
    """Make a chat model of the `langchain-openai` family use the HTTP clients of this module.

    Args:
        model: A chat model. A model with its own HTTP clients keeps them.

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
