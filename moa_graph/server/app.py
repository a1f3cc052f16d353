"""The ASGI application: routes and middleware."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from moa_graph.server import (
    assets,
    openai_chat,
    openai_completions,
    openai_models,
    openai_responses,
    page_api,
)
from moa_graph.server.access_log import AccessLogMiddleware
from moa_graph.server.anthropic_dialect import COUNT_PATH, MESSAGES_PATH
from moa_graph.server.auth import ApiKey, AuthMiddleware
from moa_graph.server.connections import HEALTH_PATH
from moa_graph.server.cross_origin import CrossOriginMiddleware
from moa_graph.server.errors import (
    NO_RETRY_HEADERS,
    ApiError,
    on_client_disconnect,
    on_error,
    on_http_error,
)
from moa_graph.server.heartbeat import HeartbeatMiddleware
from moa_graph.server.metrics_endpoint import metrics_routes
from moa_graph.server.origin_policy import OriginPolicy, read_origin_policy
from moa_graph.server.rejoin import RejoinMiddleware
from moa_graph.server.root_path import RootPathMiddleware
from moa_graph.server.service import MixtureService

if TYPE_CHECKING:
    from moa_graph.server.trace_context import TraceContextMiddleware

OPEN_PATHS = frozenset({HEALTH_PATH, *assets.page_paths()})
"""Paths without authentication."""


class Dialect(NamedTuple):
    """An HTTP API for requests to a mixture."""

    path: str
    """Path of its requests."""
    answer: Callable[[Request], Awaitable[Response]]


DIALECTS: Sequence[Dialect] = (
    Dialect("/v1/chat/completions", openai_chat.create_completion),
    Dialect("/v1/completions", openai_completions.create_completion),
    Dialect("/v1/responses", openai_responses.create_response),
)
"""Dialects that are always available."""

_ANTHROPIC_MODULE = "moa_graph.server.anthropic_messages"


def create_app(
    service: MixtureService,
    *,
    api_keys: Sequence[ApiKey] = (),
    hosts: Iterable[str] = (),
    allowed_hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
    root_path: str = "",
) -> Starlette:
    """Create the ASGI application of the server.

    Args:
        service: The service.
        api_keys: Accepted keys; every request needs one, except those to `OPEN_PATHS`. Without
            keys, everybody who reaches the server may use it.
        hosts: Names of the server, besides `localhost` and addresses. With a key, any name is
            accepted.
        allowed_hosts: Further names, and patterns such as `*.local`. The page is available under
            them if a proxy forwards requests with another name.
        origins: Sites whose pages may use the API, or `*`.
        root_path: Path prefix of a proxy, which may remove it from requests.

    Raises:
        ValueError: If a name or an origin is invalid.
    """
    origin_policy = read_origin_policy(hosts, allowed_hosts, origins)
    dialects = [*DIALECTS, *_list_anthropic_dialects()]
    routes = [
        Route(HEALTH_PATH, get_health),
        *(Route(each.path, each.answer, methods=["POST"]) for each in dialects),
        Route(
            "/v1/responses/{rest:path}",
            openai_responses.refuse_stored,
            methods=["GET", "POST", "DELETE"],
        ),
        Route("/v1/models", openai_models.list_models),
        Route("/v1/models/{model:path}", openai_models.get_model),
        *assets.page_routes(),
        *page_api.api_routes(service),
        *metrics_routes(service),
    ]
    app = Starlette(
        routes=routes,
        middleware=_list_middleware(service, origin_policy, api_keys, root_path),
        exception_handlers={
            ApiError: on_error,
            HTTPException: on_http_error,
            ClientDisconnect: on_client_disconnect,
            Exception: on_error,
        },
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.api_paths = [*(each.path for each in dialects), "/v1/models"]
    return app


def preload_dialects() -> Thread | None:
    """Import Anthropic's package in a thread, so that the first request does not wait for it.

    The import takes about two seconds, in which the server already answers.
    """
    if not _has_anthropic():
        return None
    thread = Thread(target=import_module, args=(_ANTHROPIC_MODULE,))
    thread.start()
    return thread


def _has_anthropic() -> bool:
    return find_spec("anthropic") is not None


def _list_anthropic_dialects() -> list[Dialect]:
    """Return the dialects that need Anthropic's package, an extra."""
    if not _has_anthropic():
        return [Dialect(path, _refuse_without_anthropic) for path in (MESSAGES_PATH, COUNT_PATH)]
    return [Dialect(MESSAGES_PATH, _create_message), Dialect(COUNT_PATH, _count_tokens)]


async def _create_message(request: Request) -> Response:
    return await _answer_as_anthropic("create_message", request)


async def _count_tokens(request: Request) -> Response:
    return await _answer_as_anthropic("count_tokens", request)


async def _answer_as_anthropic(how: str, request: Request) -> Response:
    """Answer with the dialect; a request that comes before `preload_dialects` is done waits."""
    dialect = await run_in_threadpool(import_module, _ANTHROPIC_MODULE)
    answer: Callable[[Request], Awaitable[Response]] = getattr(dialect, how)
    return await answer(request)


async def _refuse_without_anthropic(request: Request) -> Response:
    message = (
        f"{request.url.path}: the package anthropic is not installed where the server runs; "
        "pip install 'moa_graph[anthropic]'"
    )
    raise ApiError(501, message, code="not_installed", headers=NO_RETRY_HEADERS)


def _list_middleware(
    service: MixtureService, origin_policy: OriginPolicy, api_keys: Sequence[ApiKey], root_path: str
) -> list[Middleware]:
    """Return the middleware, first to last."""
    limits, has_traces = service.limits, service.telemetry.has_traces
    beat, rejoin = limits.heartbeat, limits.rejoin
    return [
        *([Middleware(RootPathMiddleware, root_path=root_path)] if root_path else []),
        Middleware(AccessLogMiddleware),
        *([Middleware(_trace_context_middleware())] if has_traces else []),
        *(
            [Middleware(CrossOriginMiddleware, origin_policy=origin_policy)]
            if origin_policy.origins
            else []
        ),
        Middleware(
            AuthMiddleware, api_keys=api_keys, origin_policy=origin_policy, open_paths=OPEN_PATHS
        ),
        *([Middleware(HeartbeatMiddleware, seconds=beat)] if beat else []),
        *([Middleware(RejoinMiddleware, limits=limits, seconds=rejoin)] if rejoin else []),
    ]


def _trace_context_middleware() -> type["TraceContextMiddleware"]:
    from moa_graph.server.trace_context import (  # noqa: PLC0415  # an extra
        TraceContextMiddleware,
    )

    return TraceContextMiddleware


async def get_health(request: Request) -> Response:
    """Return whether the server accepts runs; a stopping server returns an error."""
    service: MixtureService | None = getattr(request.app.state, "service", None)
    if service and service.is_stopping:
        return JSONResponse({"status": "draining"}, 503)
    return JSONResponse({"status": "ok"})
