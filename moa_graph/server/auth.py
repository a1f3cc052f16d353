"""Who may use the server.

A server on this machine is reached by every page in this machine's browsers, too. Such a page
sends its own `Origin`, or its browser says that it is another one in `Sec-Fetch-Site`; or it has
its own name lead here, which then stands in `Host`. A page of another port of this machine is as
foreign as any. The key is never in a cookie: browsers send those to all ports of a host.
"""

import hmac
from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from moa_graph.server.errors import ApiError, ambiguous_length_error

KEY_NAME = "moa_graph.key_name"
"""Where the scope of a request says whose key it showed."""

_OWN_SITES = {"same-origin", "none"}  # `none`: a person typed the address


class ApiKey(NamedTuple):
    """A key that is let in."""

    key: str
    name: str | None = None
    """Whose it is, for the log."""


class AuthMiddleware:
    """Lets in who has the key, and nobody by way of another site's page."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_keys: Sequence[ApiKey],
        hosts: Iterable[str],
        open_paths: Collection[str],
    ) -> None:
        self._app, self._api_keys, self._open_paths = app, api_keys, open_paths
        self._allowed_hosts = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (refusal := self._find_refusal(scope)):
            await refusal.to_response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _find_refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if "content-length" in headers and "transfer-encoding" in headers:
            return ambiguous_length_error()
        if not self._api_keys and not self._is_known_host(host):
            message = (
                f"the host {host!r} is not known; ask for 'localhost' or an address, "
                "or have the server ask for a key"
            )
            return ApiError(403, message, code="unknown_host")
        if origin is not None and origin.lower().partition("://")[2] != host:
            message = f"a page of {origin!r} may not use this server"
            return ApiError(403, message, code="foreign_origin")
        site = headers.get("sec-fetch-site", "none").lower()
        if site not in _OWN_SITES and scope["path"] not in self._open_paths:
            message = f"a page of another site or port ({site!r}) may not use this server"
            return ApiError(403, message, code="foreign_origin")
        if self._api_keys and scope["path"] not in self._open_paths:
            if (api_key := self._find_key(headers)) is None:
                return _invalid_key_error()
            scope[KEY_NAME] = api_key.name
        return None

    def _is_known_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._allowed_hosts or bool(ip_address(name))
        except ValueError:
            return False

    def _find_key(self, headers: Headers) -> ApiKey | None:
        """Find the key of a request; all are compared, so that time tells nothing."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip().encode("latin-1")
        found = [each for each in self._api_keys if hmac.compare_digest(given, each.key.encode())]
        return found[0] if found and scheme.lower() == "bearer" else None


def _invalid_key_error() -> ApiError:
    return ApiError(
        401,
        "wrong or missing API key; expected 'Authorization: Bearer KEY'",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )
