"""The page itself: static files of this package, and the headers that keep foreign code out."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from mimetypes import guess_type

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def paths() -> set[str]:
    """Name the paths of the page and its files: nothing in them is secret."""
    return {"/", *(f"/page/{name}" for name in _names())}


def routes() -> list[Route]:
    """Give the routes of the page and its files."""
    return [Route("/", index), Route("/page/{name}", asset)]


async def index(request: Request) -> Response:
    """Give the page."""
    return _file(request, "index.html")


async def asset(request: Request) -> Response:
    """Give one of its files."""
    return _file(request, request.path_params["name"])


def _file(request: Request, name: str) -> Response:
    if name not in _names():
        raise HTTPException(404, "no such file")
    data, tag = _read(name)
    headers = HEADERS | {"etag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    kind = "text/javascript" if name.endswith(".js") else guess_type(name)[0]
    return Response(data, media_type=kind, headers=headers)


@cache
def _names() -> frozenset[str]:
    return frozenset(each.name for each in (files("moa_graph.server") / "page").iterdir())


@cache
def _read(name: str) -> tuple[bytes, str]:
    data = (files("moa_graph.server") / "page" / name).read_bytes()
    return data, f'"{sha256(data).hexdigest()[:32]}"'
