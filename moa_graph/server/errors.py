"""Errors of requests in the format of their dialect."""

from collections.abc import Mapping
from typing import Any

from langchain_core.exceptions import ContextOverflowError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from moa_graph.chat_model.streaming import BrokenStreamError
from moa_graph.errors import MoAError
from moa_graph.graph.quorum import QuorumError
from moa_graph.graph.writer_failures import AggregatorError
from moa_graph.redaction import redacted_message
from moa_graph.server.anthropic_dialect import speaks_anthropic
from moa_graph.server.request_record import note_error

REQUEST_ID = "moa_graph.request_id"
"""Scope key of the request id."""
HTTP_CONFLICT = 409  # the state of a thread does not allow it
CLIENT_CLOSED_REQUEST = 499  # only for the log
MAX_PATH_CHARS = 100  # characters of a path
TOO_MANY_REQUESTS = 429
RETRY_AFTER = "2"  # seconds, if this server is busy
REFUSED_KEY_STATUSES = {401, 403}
NO_RETRY_HEADERS = {"x-should-retry": "false"}  # stops clients from paying for retries
CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
THREAD_UNSUPPORTED = "thread_unsupported_request"
"""Code by which Anthropic's clients know to send the whole conversation without `thread`."""

_ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""Anthropic's error types by status; others are `invalid_request_error` or `api_error`."""


class ApiError(MoAError):
    """A request that was rejected or failed."""

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
        self.status, self.message, self.code, self.param = status, message, code, param
        self.kind, self.headers = kind or _error_type(status), headers

    def to_response(self, scope: Scope | None = None) -> Response:
        """Convert the error to a response, and record its code for the log.

        Args:
            scope: The request, which determines the format; by default OpenAI's.
        """
        note_error(self.code)
        if scope and speaks_anthropic(scope):
            body = anthropic_error_body(self, scope.get(REQUEST_ID))
        else:
            body = openai_error_body(self)
        return JSONResponse(body, self.status, self.headers)


def openai_error_body(error: ApiError) -> dict[str, Any]:
    """Return the body of an error in OpenAI's format."""
    fields = {"message": error.message, "type": error.kind}
    return {"error": {**fields, "param": error.param, "code": error.code}}


def anthropic_error_body(error: ApiError, request_id: str | None = None) -> dict[str, Any]:
    """Return the body of an error in Anthropic's format."""
    is_ours = error.status >= 500  # noqa: PLR2004
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error" if is_ours else "invalid_request_error")
    message = error.message
    if error.code == CONTEXT_LENGTH_EXCEEDED:
        message = f"prompt is too long: {message}"  # clients recognize it, and shorten the prompt
    fields: dict[str, Any] = {"type": kind, "message": message}
    if error.code == THREAD_UNSUPPORTED:
        fields["details"] = {"error_code": error.code}
    return {"type": "error", "error": fields, "request_id": request_id}


def _error_type(status: int) -> str:
    """Return OpenAI's error type of a status."""
    if status == TOO_MANY_REQUESTS:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004


def server_stopping_error() -> ApiError:
    """Return the error of a stopping server; another one may answer soon."""
    headers = {"retry-after": RETRY_AFTER, "connection": "close"}
    return ApiError(503, "the server is stopping", code="stopping", headers=headers)


def ambiguous_length_error() -> ApiError:
    """Reject a body with two lengths: a proxy might read a second request in it."""
    message = "expected either 'Content-Length' or 'Transfer-Encoding', got both"
    return ApiError(400, message, code="ambiguous_length", headers={"connection": "close"})


def to_api_error(error: Exception) -> ApiError:
    """Convert an error of a run, without keys."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BrokenStreamError):
        return ApiError(502, redacted_message(error), code="broken_off")
    if isinstance(error, ContextOverflowError):
        message = redacted_message(error)
        return ApiError(400, message, code=CONTEXT_LENGTH_EXCEEDED, param="messages")
    if isinstance(error, (QuorumError, AggregatorError)):
        return _to_run_error(error)
    return ApiError(500, redacted_message(error), code="internal_error", headers=NO_RETRY_HEADERS)


def _to_run_error(error: QuorumError | AggregatorError) -> ApiError:
    """Convert a run without an answer; it has the status that all failures share, if any."""
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
    """Convert a rate limit of a provider, with its `Retry-After`."""
    response = getattr(error, "response", None)
    retry_after = getattr(response, "headers", {}).get("retry-after")
    headers = NO_RETRY_HEADERS | ({"retry-after": retry_after} if retry_after else {})
    is_quota = getattr(error, "code", None) == "insufficient_quota"
    code, kind = ("insufficient_quota",) * 2 if is_quota else ("rate_limit_exceeded", None)
    return ApiError(TOO_MANY_REQUESTS, message, code=code, kind=kind, headers=headers)


async def on_error(request: Request, error: Exception) -> Response:
    """Respond to a request that failed."""
    return to_api_error(error).to_response(request.scope)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Respond to a request without a route."""
    if not isinstance(error, HTTPException):
        raise error
    where, status = f"{request.method} {request.url.path[:MAX_PATH_CHARS]}", error.status_code
    if status == 404:  # noqa: PLR2004
        expected = ", ".join(request.app.state.api_paths)
        message = f"{where}: not found; expected {expected}, or / for a page"
        return ApiError(status, message, code="unknown_url").to_response(request.scope)
    code = "method_not_allowed" if status == 405 else None  # noqa: PLR2004
    message = f"{where}: {error.detail}"
    refusal = ApiError(status, message, code=code, headers=error.headers)
    return refusal.to_response(request.scope)


async def on_client_disconnect(_: Request, __: Exception) -> Response:
    """Close a request whose client disconnected."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)
