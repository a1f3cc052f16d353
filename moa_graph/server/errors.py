"""What goes wrong in a request, in the shape in which OpenAI's API tells it."""

from collections.abc import Mapping
from typing import Any

from langchain_core.exceptions import ContextOverflowError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.errors import MoAError
from moa_graph.graph.aggregator import AggregatorError
from moa_graph.graph.quorum import QuorumError
from moa_graph.redaction import redacted_message

HTTP_CONFLICT = 409  # the state of a thread forbids it
CLIENT_CLOSED_REQUEST = 499  # nobody reads it; it stands in the log
MAX_PATH_CHARS = 100  # characters of a path
NO_RETRY_HEADERS = {"x-should-retry": "false"}  # OpenAI's clients heed it: a run is not paid thrice


class ApiError(MoAError):
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

    def to_response(self) -> Response:
        """Give it as a response."""
        return JSONResponse(self.body, self.status, self.headers)


def server_stopping_error() -> ApiError:
    """Tell that the server goes, and its runs with it."""
    return ApiError(503, "the server is stopping", code="stopping")


def ambiguous_length_error() -> ApiError:
    """Refuse a body of two lengths: a proxy that heeds the other one would pass a request in it."""
    message = "expected either 'Content-Length' or 'Transfer-Encoding', got both"
    return ApiError(400, message, code="ambiguous_length", headers={"connection": "close"})


def to_api_error(error: Exception) -> ApiError:
    """Tell what a run threw, without keys."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ContextOverflowError):
        message = redacted_message(error)
        return ApiError(400, message, code="context_length_exceeded", param="messages")
    if isinstance(error, (QuorumError, AggregatorError)):
        code = "quorum_lost" if isinstance(error, QuorumError) else "no_final_answer"
        return ApiError(502, redacted_message(error), code=code, headers=NO_RETRY_HEADERS)
    return ApiError(500, redacted_message(error), code="internal_error", headers=NO_RETRY_HEADERS)


async def on_error(_: Request, error: Exception) -> Response:
    """Answer a request that failed."""
    return to_api_error(error).to_response()


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes."""
    if not isinstance(error, HTTPException):
        raise error
    where, status = f"{request.method} {request.url.path[:MAX_PATH_CHARS]}", error.status_code
    if status == 404:  # noqa: PLR2004
        message = f"{where}: not found; expected /v1/chat/completions, /v1/models, or / for a page"
        return ApiError(status, message, code="unknown_url").to_response()
    code = "method_not_allowed" if status == 405 else None  # noqa: PLR2004
    message = f"{where}: {error.detail}"
    return ApiError(status, message, code=code, headers=error.headers).to_response()


async def on_client_disconnect(_: Request, __: Exception) -> Response:
    """Close a request whose client hung up."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)
