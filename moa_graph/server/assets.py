"""Static files of the page, and their security headers."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from mimetypes import guess_type
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SERVED = {".css", ".html", ".js", ".svg"}
PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def page_paths() -> set[str]:
    """Return the paths of the page and its files, which contain no secrets."""
    return {"/", *(f"/page/{name}" for name in _page_files())}


def page_routes() -> list[Route]:
    """Return the routes of the page and its files."""
    return [Route("/", get_index), Route("/page/{name}", get_asset)]


async def get_index(request: Request) -> Response:
    """Return the page."""
    return _file_response(request, "index.html")


async def get_asset(request: Request) -> Response:
    """Return a file of the page."""
    return _file_response(request, request.path_params["name"])


def _file_response(request: Request, name: str) -> Response:
    if name not in _page_files():
        raise HTTPException(404, "no such file")
    data, etag = _read_file(name)
    headers = PAGE_HEADERS | {"etag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    kind = "text/javascript" if name.endswith(".js") else guess_type(name)[0]
    return Response(data, media_type=kind, headers=headers)


@cache
def _page_files() -> Mapping[str, Traversable]:
    """Return the files of the page by name, including the style sheets of reports."""
    package = files("moa_graph")
    folders = (package / "styles", package / "server" / "page")
    found = (each for folder in folders for each in folder.iterdir())
    return {each.name: each for each in found if Path(each.name).suffix in _SERVED}


@cache
def _read_file(name: str) -> tuple[bytes, str]:
    data = _page_files()[name].read_bytes()
    return data, f'"{sha256(data).hexdigest()[:32]}"'
