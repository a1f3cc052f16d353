"""An aiohttp transport for the openai client: half the CPU time of httpx, and a scalable pool.

`openai[aiohttp]` contains a transport too. It reports a refused connection as a timeout, and raises
errors that the openai client does not retry.
"""

import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.request import getproxies

import aiohttp
import httpx2
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

KEEP_ALIVE_S = 30.0
"""Seconds until an idle connection is closed: longer than most layers take, and shorter than most
servers keep connections."""

_ERRORS: dict[type[Exception], type[httpx2.TransportError]] = {  # the first match counts
    aiohttp.ConnectionTimeoutError: httpx2.ConnectTimeout,
    TimeoutError: httpx2.ReadTimeout,
    aiohttp.ClientProxyConnectionError: httpx2.ProxyError,
    aiohttp.ClientHttpProxyError: httpx2.ProxyError,
    aiohttp.ClientConnectorError: httpx2.ConnectError,
    aiohttp.NonHttpUrlClientError: httpx2.UnsupportedProtocol,
    aiohttp.InvalidURL: httpx2.UnsupportedProtocol,
    aiohttp.ServerDisconnectedError: httpx2.RemoteProtocolError,
    aiohttp.ClientResponseError: httpx2.RemoteProtocolError,
    aiohttp.ClientPayloadError: httpx2.RemoteProtocolError,
    HttpProcessingError: httpx2.RemoteProtocolError,
    OSError: httpx2.ReadError,
    aiohttp.ClientError: httpx2.ReadError,
}
_TLS_VARIABLES = ("SSL_CERT_FILE", "SSLKEYLOGFILE")
_LAST_PORT = 2**16 - 1
_WRITE_BYTES = 2**18  # bytes per write


class OneShotBody(httpx2.AsyncByteStream):
    """A request body that is released once it is sent, so that waiting calls do not hold prompts.

    Args:
        content: The bytes.
        on_resend: Called when the body is needed again, as after a redirect. The openai client
            then builds the request again, as after other errors.
    """

    def __init__(self, content: bytes, on_resend: Callable[[], None]) -> None:
        self._content: bytes | None = content
        self._on_resend = on_resend

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content, self._content = self._content, None
        if content is None:
            self._on_resend()
            raise httpx2.RequestError("redirected: the request must be built again")
        for start in range(0, len(content), _WRITE_BYTES):
            yield content[start : start + _WRITE_BYTES]


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """The connections of one event loop. Waiting requests get connections in order.

    Args:
        per_endpoint: Maximum number of connections to one host and port.
        total: Maximum number of connections.
        verify: TLS context; by default `default_ssl_context`.
    """

    def __init__(self, per_endpoint: int, total: int, verify: ssl.SSLContext | None = None) -> None:
        self._verify = verify
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=total, limit_per_host=per_endpoint, keepalive_timeout=KEEP_ALIVE_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # the httpx client handles them
            auto_decompress=False,  # likewise
        )

    def mounts(self, proxy: str | None = None) -> dict[str, httpx2.AsyncBaseTransport | None]:
        """Return the transports for a proxy, or for those of the environment, by URL pattern."""
        proxies = {"all://": proxy} if proxy else read_proxy_mounts()
        return {
            pattern: _ProxiedTransport(self, each) if each else None
            for pattern, each in proxies.items()
        }

    async def handle_async_request(
        self, request: httpx2.Request, proxy: str | None = None
    ) -> httpx2.Response:
        """Send a request, and return the response before its body is read."""
        url = request.url
        with _map_errors():
            response = await self._session.request(
                request.method,
                URL(str(url), encoded=True),
                headers=_decode_headers(request.headers),
                data=request.stream if request.headers.get("content-length", "0") != "0" else None,
                proxy=proxy,
                timeout=_client_timeout(**request.extensions.get("timeout", {})),
                ssl=self._verify or default_ssl_context() if url.scheme == "https" else True,
                allow_redirects=False,
            )
        return httpx2.Response(
            response.status,
            headers=response.raw_headers,
            stream=_ResponseBody(response),
            extensions={"reason_phrase": (response.reason or "").encode()},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _ProxiedTransport(httpx2.AsyncBaseTransport):
    """The same connections through a proxy."""

    def __init__(self, transport: AiohttpTransport, proxy: str) -> None:
        self._transport, self._proxy = transport, proxy

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._transport.handle_async_request(request, self._proxy)


class _ResponseBody(httpx2.AsyncByteStream):
    """The body of a response; when it is read completely, its connection is free again."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _map_errors():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        self._response.close()


@cache
def default_ssl_context() -> ssl.SSLContext:
    """Return the TLS context of httpx: certifi's roots, or `SSL_CERT_FILE` and `SSL_CERT_DIR`."""
    return httpx2.create_ssl_context()


def check_certificates() -> None:
    """Check the certificates that environment variables name.

    Raises:
        ValueError: If they are invalid; the message names the variable.
    """
    values = tuple(os.environ.get(name) or None for name in _TLS_VARIABLES)
    if any(values):
        _check_tls_files(*values)


@lru_cache(maxsize=8)
def _check_tls_files(certificates: str | None, key_log: str | None) -> None:
    if certificates:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificates)
        except OSError as error:  # includes `ssl.SSLError`
            reason = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise ValueError(
                f"SSL_CERT_FILE={certificates!r}: expected a file of certificates (PEM): {reason}"
            ) from None
    if key_log:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = key_log
        except OSError as error:
            raise ValueError(
                f"SSLKEYLOGFILE={key_log!r}: expected a file that can be written: {error.strerror}"
            ) from None


@contextmanager
def _map_errors() -> Iterator[None]:
    """Convert errors of aiohttp to those that the openai client retries."""
    try:
        yield
    except tuple(_ERRORS) as error:
        error_class = next(kind for own, kind in _ERRORS.items() if isinstance(error, own))
        raise error_class(str(error) or type(error).__name__) from error


def _decode_headers(headers: httpx2.Headers) -> list[tuple[str, str]]:
    """Return what `multi_items` does, which looks up the encoding twice for each header."""
    encoding = headers.encoding
    return [(name.lower().decode(encoding), value.decode(encoding)) for name, value in headers.raw]


def _client_timeout(
    connect: float | None = None,
    read: float | None = None,
    pool: float | None = None,
    **_: float | None,
) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=pool, sock_connect=connect, sock_read=read)


def read_proxy_mounts() -> dict[str, str | None]:
    """Read the proxies of the environment as httpx does, which has no public function for it.

    Returns:
        Proxies by URL pattern; `None` for direct connections.
    """
    named, direct = _read_environment()
    mounts: dict[str, str | None] = {f"{scheme}://": proxy for scheme, proxy in named.items()}
    return mounts | dict.fromkeys(filter(_is_valid_pattern, map(_no_proxy_pattern, direct)))


def check_proxies(proxies: Mapping[str, str] | None = None) -> None:
    """Check the addresses of proxies; errors do not repeat a password in them.

    Args:
        proxies: Addresses by variable; by default those of the environment.

    Raises:
        ImportError: If one needs a package that is not installed.
        ValueError: If one is invalid.
    """
    if proxies is None:
        proxies = {f"{k.upper()}_PROXY": proxy for k, proxy in _read_environment()[0].items()}
    for name, proxy in proxies.items():
        if not (url := _parse_proxy(proxy)):
            raise ValueError(f"{name}: expected the address of a proxy, such as 'http://host:8080'")
        if url.scheme.startswith("socks") and not find_spec("socksio"):
            raise ImportError(f"{name}: a SOCKS proxy needs a package: pip install 'httpx2[socks]'")


def _parse_proxy(address: str) -> httpx2.URL | None:
    if any(map(str.isspace, address)):
        return None
    try:
        url = httpx2.Proxy(address).url
    except (httpx2.InvalidURL, ValueError):
        return None
    return url if url.host and (url.port or 1) <= _LAST_PORT else None


def _read_environment() -> tuple[dict[str, str], list[str]]:
    """Return the proxies of the environment by scheme, and the hosts without a proxy."""
    variables = getproxies()
    direct = [host for each in variables.get("no", "").split(",") if (host := each.strip())]
    if "*" in direct:
        return {}, []
    named = {
        scheme: proxy if "://" in proxy else f"http://{proxy}"
        for scheme in ("http", "https", "all")
        if (proxy := variables.get(scheme))
    }
    return named, direct


def _no_proxy_pattern(host: str) -> str:
    """Convert an entry of `NO_PROXY` to a URL pattern."""
    if "://" in host:
        return host
    address, slash, bits = host.partition("/")
    with suppress(ValueError):
        bare = f"[{address}]" if ip_address(address).version == 6 else address  # noqa: PLR2004
        return f"all://{bare}{slash}{bits}"
    exact = host.lower() == "localhost" or host.startswith(("[", "*."))
    return f"all://{host}" if exact else f"all://*{host}"


def _is_valid_pattern(pattern: str) -> bool:
    try:
        httpx2.Client(transport=httpx2.BaseTransport(), mounts={pattern: None})
    except httpx2.InvalidURL:
        return False
    return True
