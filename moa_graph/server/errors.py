"""What goes wrong in a request, in the shape in which OpenAI's API tells it."""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.graph.aggregator import AggregatorError
from moa_graph.graph.quorum import QuorumError
from moa_graph.redaction import describe

CLIENT_GONE = 499  # nobody reads it; it stands in the log
MOST_SHOWN = 100  # characters of a path
DO_NOT_RETRY = {"x-should-retry": "false"}  # OpenAI's clients heed it: a run is not paid thrice


class ApiError(Exception):
    """A request that is refused, or that failed."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        kind = "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }

    def response(self) -> Response:
        """Give it as a response."""
        return JSONResponse(self.body, self.status, self.headers)


def stopping() -> ApiError:
    """Tell that the server goes, and its runs with it."""
    return ApiError(503, "the server is stopping", code="stopping")


def translate(error: Exception) -> ApiError:
    """Tell what a run threw, without keys."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, (QuorumError, AggregatorError)):
        code = "quorum_lost" if isinstance(error, QuorumError) else "no_final_answer"
        return ApiError(502, describe(error), code=code, headers=DO_NOT_RETRY)
    return ApiError(500, describe(error), code="internal_error", headers=DO_NOT_RETRY)


async def on_error(_: Request, error: Exception) -> Response:
    """Answer a request that failed."""
    return translate(error).response()


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes."""
    if not isinstance(error, HTTPException):
        raise error
    where, status = f"{request.method} {request.url.path[:MOST_SHOWN]}", error.status_code
    if status == 404:  # noqa: PLR2004
        message = f"{where}: not found; expected /v1/chat/completions, /v1/models, or / for a page"
        return ApiError(status, message, code="unknown_url").response()
    code = "method_not_allowed" if status == 405 else None  # noqa: PLR2004
    message = f"{where}: {error.detail}"
    return ApiError(status, message, code=code, headers=error.headers).response()


async def on_client_gone(_: Request, __: Exception) -> Response:
    """Close a request whose client hung up."""
    return Response(status_code=CLIENT_GONE)
