"""The page itself: static files of this package, and the headers that keep foreign code out."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from mimetypes import guess_type

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def page_paths() -> set[str]:
    """Name the paths of the page and its files: nothing in them is secret."""
    return {"/", *(f"/page/{name}" for name in _list_files())}


def page_routes() -> list[Route]:
    """Give the routes of the page and its files."""
    return [Route("/", get_index), Route("/page/{name}", get_asset)]


async def get_index(request: Request) -> Response:
    """Give the page."""
    return _file_response(request, "index.html")


async def get_asset(request: Request) -> Response:
    """Give one of its files."""
    return _file_response(request, request.path_params["name"])


def _file_response(request: Request, name: str) -> Response:
    if name not in _list_files():
        raise HTTPException(404, "no such file")
    data, etag = _read_file(name)
    headers = PAGE_HEADERS | {"etag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    kind = "text/javascript" if name.endswith(".js") else guess_type(name)[0]
    return Response(data, media_type=kind, headers=headers)


@cache
def _list_files() -> frozenset[str]:
    return frozenset(each.name for each in (files("moa_graph.server") / "page").iterdir())


@cache
def _read_file(name: str) -> tuple[bytes, str]:
    data = (files("moa_graph.server") / "page" / name).read_bytes()
    return data, f'"{sha256(data).hexdigest()[:32]}"'
