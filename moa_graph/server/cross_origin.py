"""CORS headers for allowed origins.

Requests carry no cookies or passwords of the browser: a page sends a key, as any other client does.
`AuthMiddleware` decides which pages are rejected.
"""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from moa_graph.server.origin_policy import API_PREFIX, OriginPolicy

MAX_AGE_S = 600  # seconds for which a browser caches a preflight


class CrossOriginMiddleware(CORSMiddleware):
    """Answers preflights, which have no key, and lets allowed pages read responses of the API."""

    def __init__(self, app: ASGIApp, *, origin_policy: OriginPolicy) -> None:
        super().__init__(
            app,
            allow_origins=origin_policy.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=("*",),
            allow_private_network=True,
            max_age=MAX_AGE_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer a preflight."""
        if scope["type"] == "http" and self._concerns(scope):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Return whether pages of an origin may use the API; case is ignored."""
        return super().is_allowed_origin(origin.lower())

    def _concerns(self, scope: Scope) -> bool:
        """Return whether to add headers: rejected requests are left to `AuthMiddleware`."""
        origin = Headers(scope=scope).get("origin", "")
        is_preflight = scope["method"] == "OPTIONS"
        return scope["path"].startswith(API_PREFIX) and not (
            is_preflight and not self.is_allowed_origin(origin)
        )
