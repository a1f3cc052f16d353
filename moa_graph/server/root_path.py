"""The path prefix of a proxy.

The server accepts requests with and without the prefix, because some proxies remove it. The links
and requests of the page are relative, so the page needs no prefix.
"""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_KEEP_METHOD = 307


class RootPathMiddleware:
    """Removes the prefix."""

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app, self._root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; redirect the bare prefix to the page, whose links are relative."""
        path = scope.get("path", "")
        if path == self._root_path:
            query = scope["query_string"].decode("latin-1")
            target = f"{self._root_path}/{'?' if query else ''}{query}"
            await RedirectResponse(target, _KEEP_METHOD)(scope, receive, send)
            return
        if path.startswith(f"{self._root_path}/"):
            scope = {**scope, "path": path.removeprefix(self._root_path)}
        await self._app(scope, receive, send)


def read_root_path(text: str) -> str:
    """Parse a prefix; an empty one is none.

    Raises:
        ValueError: If it is not the beginning of a path.
    """
    path = text.strip().rstrip("/")
    is_path = path.startswith("/") and not path.startswith("//") and path.isprintable()
    if path and (not is_path or any(c in path for c in "?# %\\")):
        raise ValueError(f"expected a path such as '/moa', got {text!r}")
    return path
