"""The application: which paths there are, and what stands before them."""

from collections.abc import Iterable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from moa_graph.server import assets, openai_chat, openai_models, page_api
from moa_graph.server.access_log import AccessLogMiddleware
from moa_graph.server.auth import ApiKey, AuthMiddleware
from moa_graph.server.connections import HEALTH_PATH
from moa_graph.server.errors import (
    ApiError,
    on_client_disconnect,
    on_error,
    on_http_error,
)
from moa_graph.server.service import MixtureService

OPEN_PATHS = frozenset({HEALTH_PATH, *assets.page_paths()})
"""Paths that need no key."""


def create_app(
    service: MixtureService, *, api_keys: Sequence[ApiKey] = (), hosts: Iterable[str] = ()
) -> Starlette:
    """Create the server's application (ASGI).

    Args:
        service: What it serves.
        api_keys: The keys of which every request but those to `OPEN_PATHS` must show one. Without
            any, everybody who reaches the server may use it.
        hosts: Names under which the server is reached, beside `localhost`; addresses always are.
            With a key, any.
    """
    routes = [
        Route(HEALTH_PATH, get_health),
        Route("/v1/chat/completions", openai_chat.create_completion, methods=["POST"]),
        Route("/v1/models", openai_models.list_models),
        Route("/v1/models/{model:path}", openai_models.get_model),
        *assets.page_routes(),
        *page_api.api_routes(service),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(AccessLogMiddleware),
            Middleware(AuthMiddleware, api_keys=api_keys, hosts=hosts, open_paths=OPEN_PATHS),
        ],
        exception_handlers={
            ApiError: on_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_client_disconnect,
            Exception: on_error,
        },
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


async def get_health(_: Request) -> Response:
    """Say that the server runs."""
    return JSONResponse({"status": "ok"})
