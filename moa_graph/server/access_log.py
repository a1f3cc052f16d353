"""The access log: one line for each request.

Each request has an id: the `x-request-id` of its client or proxy, or a new one.
"""

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moa_graph.redaction import redact, redacted_message
from moa_graph.server.anthropic_dialect import ANTHROPIC_REQUEST_ID_HEADER, speaks_anthropic
from moa_graph.server.auth import KEY_NAME, REPORT_PREFIX
from moa_graph.server.errors import REQUEST_ID
from moa_graph.server.request_record import RequestRecord, enter_request

logger = logging.getLogger("moa_graph.server")

METRICS_PATH = "/metrics"
_UNLOGGED_PATHS = {"/health", METRICS_PATH}  # polled every few seconds by monitoring
REQUEST_ID_HEADER = "x-request-id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:/+=-]{1,128}")
_UNPRINTABLE = re.compile(r"[^ -~]")
_MAX_PART_CHARS = 100  # characters of a path


class AccessLogMiddleware:
    """Logs each request at its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] in _UNLOGGED_PATHS:
            await self._app(scope, receive, send)
            return
        record = _open_record(scope)
        scope[REQUEST_ID] = record.request_id

        async def observe(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status, record.first_byte_at = message["status"], perf_counter()
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = record.request_id
                if speaks_anthropic(scope):
                    headers[ANTHROPIC_REQUEST_ID_HEADER] = record.request_id
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                record.is_complete = True

        enter_request(record)
        try:
            await self._app(scope, receive, observe)
        except Exception as error:
            record.is_raised = True
            logger.error("%s", redacted_message(error))  # noqa: TRY400  # the caller logs a raised error
            raise
        finally:
            record.key_name = scope.get(KEY_NAME)
            record.log()


def _open_record(scope: Scope) -> RequestRecord:
    client = (scope.get("client") or ["-"])[0]  # set by a proxy on this machine
    path = scope["path"]
    if path.startswith(REPORT_PREFIX):
        path = f"{REPORT_PREFIX}..."  # readers of the log must not read reports
    parts = (client, scope["method"], path)
    client, method, path = (_UNPRINTABLE.sub("?", redact(part))[:_MAX_PART_CHARS] for part in parts)
    return RequestRecord(_read_request_id(scope), client, method, path)


def _read_request_id(scope: Scope) -> str:
    """Return the client's request id if it is valid in a log line, or a new id."""
    header = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return redact(header) if _REQUEST_ID.fullmatch(header) else f"req_{uuid4().hex}"
