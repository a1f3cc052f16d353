"""What goes wrong in a request, in the shape in which OpenAI's API tells it."""

from collections.abc import Mapping
from typing import Any

from langchain_core.exceptions import ContextOverflowError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.chat_model.streaming import BrokenStreamError
from moa_graph.errors import MoAError
from moa_graph.graph.aggregator import AggregatorError
from moa_graph.graph.quorum import QuorumError
from moa_graph.redaction import redacted_message

HTTP_CONFLICT = 409  # the state of a thread forbids it
CLIENT_CLOSED_REQUEST = 499  # nobody reads it; it stands in the log
MAX_PATH_CHARS = 100  # characters of a path
TOO_MANY_REQUESTS = 429
REFUSED_KEY_STATUSES = {401, 403}
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
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        kind = kind or _error_type(status)
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }

    def to_response(self) -> Response:
        """Give it as a response."""
        return JSONResponse(self.body, self.status, self.headers)


def _error_type(status: int) -> str:
    """Give OpenAI's word for what kind of error a status is."""
    if status == TOO_MANY_REQUESTS:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004


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
    if isinstance(error, BrokenStreamError):
        return ApiError(502, redacted_message(error), code="broken_off")
    if isinstance(error, ContextOverflowError):
        message = redacted_message(error)
        return ApiError(400, message, code="context_length_exceeded", param="messages")
    if isinstance(error, (QuorumError, AggregatorError)):
        return _to_run_error(error)
    return ApiError(500, redacted_message(error), code="internal_error", headers=NO_RETRY_HEADERS)


def _to_run_error(error: QuorumError | AggregatorError) -> ApiError:
    """Tell that the models gave no answer; of a status, where all that failed share its type."""
    message, status = redacted_message(error), getattr(error, "status_code", None)
    if status == TOO_MANY_REQUESTS:
        return _to_rate_limit_error(error, message)
    if status in REFUSED_KEY_STATUSES:
        message += (
            f" (a provider refused the key that this server sends, with status {status}; the key "
            "in this request is not at fault)"
        )
    code = "quorum_lost" if isinstance(error, QuorumError) else "no_final_answer"
    return ApiError(502, message, code=code, headers=NO_RETRY_HEADERS)


def _to_rate_limit_error(error: Exception, message: str) -> ApiError:
    """Pass a provider's limit on, in OpenAI's words, and when to ask again."""
    response = getattr(error, "response", None)
    retry_after = getattr(response, "headers", {}).get("retry-after")
    headers = NO_RETRY_HEADERS | ({"retry-after": retry_after} if retry_after else {})
    is_quota = getattr(error, "code", None) == "insufficient_quota"
    code, kind = ("insufficient_quota",) * 2 if is_quota else ("rate_limit_exceeded", None)
    return ApiError(TOO_MANY_REQUESTS, message, code=code, kind=kind, headers=headers)


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
