"""Authentication: keys and tokens of requests.

Every page in a browser on this machine can also send requests to a local server. Such a page sends
its `Origin`, or its browser sends `Sec-Fetch-Site`; or the page uses DNS rebinding, and its name is
in `Host`. A page of another port of this machine is treated like any other site. The operator can
allow pages to use the API. The key is never in a cookie, because browsers send cookies to all ports
of a host.
"""

import hmac
from collections.abc import Collection, Sequence
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from moa_graph.server.errors import NO_RETRY_HEADERS, ApiError, ambiguous_length_error
from moa_graph.server.origin_policy import OriginPolicy

KEY_NAME = "moa_graph.key_name"
"""Scope key with the name of the request's API key."""

REPORT_PREFIX = "/report/"
"""Path prefix of reports, which need no key because the rest of the path cannot be guessed."""

_OWN_SITES = {"same-origin", "none"}  # `none`: a typed address


class ApiKey(NamedTuple):
    """An accepted API key."""

    key: str
    name: str | None = None
    """Name of the key, for the log."""


class AuthMiddleware:
    """Rejects requests without a key, and requests of pages of other sites."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_keys: Sequence[ApiKey],
        origin_policy: OriginPolicy,
        open_paths: Collection[str],
    ) -> None:
        self._app, self._api_keys, self._open_paths = app, api_keys, open_paths
        self._origin_policy = origin_policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] == "http" and (refusal := self._find_refusal(scope)):
            await refusal.to_response(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _find_refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if "content-length" in headers and "transfer-encoding" in headers:
            return ambiguous_length_error()
        if not self._api_keys and not self._origin_policy.knows_host(host):
            message = (
                f"the host {host!r} is not known; ask for 'localhost' or an address, name the host "
                "with --allow-host, or have the server ask for a key"
            )
            return ApiError(403, message, code="unknown_host")
        if refusal := self._find_foreign_page(scope["path"], headers, host):
            return refusal
        if self._api_keys and not self._is_open(scope["path"]):
            if (api_key := self._find_key(headers)) is None:
                return _invalid_key_error()
            scope[KEY_NAME] = api_key.name
        return None

    def _is_open(self, path: str) -> bool:
        """Return whether a path needs no key: it is public, or cannot be guessed."""
        return path in self._open_paths or path.startswith(REPORT_PREFIX)

    def _find_foreign_page(self, path: str, headers: Headers, host: str) -> ApiError | None:
        """Return the error for a request of another site's page, unless that site is allowed."""
        origin_header, site = headers.get("origin"), headers.get("sec-fetch-site", "none").lower()
        origin = None if origin_header is None else origin_header.lower()
        if self._origin_policy.lets_in(origin, path):
            return None
        if origin is not None and not self._origin_policy.is_own_origin(origin, host, site):
            message = f"a page of {origin_header!r} may not use this server"
        elif site not in _OWN_SITES and path not in self._open_paths:
            message = f"a page of another site or port ({site!r}) may not use this server"
        else:
            return None
        return ApiError(403, message, code="foreign_origin")

    def _find_key(self, headers: Headers) -> ApiKey | None:
        """Find the key of a request; all keys are compared, so that the time reveals nothing."""
        matches = [
            each
            for shown_key in read_shown_keys(headers)
            for each in self._api_keys
            if hmac.compare_digest(shown_key.encode("latin-1"), each.key.encode())
        ]
        return matches[0] if matches else None


def read_shown_keys(headers: Headers) -> list[str]:
    """Return the keys in the headers of OpenAI's and Anthropic's clients."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    shown = (token.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", ""))
    return [key for key in shown if key]


def _invalid_key_error() -> ApiError:
    return ApiError(
        401,
        "wrong or missing API key; expected 'Authorization: Bearer KEY', or 'x-api-key: KEY'",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer", **NO_RETRY_HEADERS},  # Claude Code retries ten times
    )
