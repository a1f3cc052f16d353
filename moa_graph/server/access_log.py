"""One line for each request: who, what, how it ended, how long it took. No contents.

Each request has an id: the one that its client, or a proxy, says in `x-request-id`, or a new one.
"""

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moa_graph.redaction import redact, redacted_message
from moa_graph.server.auth import KEY_NAME

logger = logging.getLogger("moa_graph.server")

_UNLOGGED_PATHS = {"/health"}  # asked for every few seconds by whoever watches the server
REQUEST_ID_HEADER = "x-request-id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:/+=-]{1,128}")
_UNPRINTABLE = re.compile(r"[^ -~]")
_MAX_PART_CHARS = 100  # characters of a path


class AccessLogMiddleware:
    """Logs each request when it is over."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] in _UNLOGGED_PATHS:
            await self._app(scope, receive, send)
            return
        started, status, request_id = perf_counter(), 500, _read_request_id(scope)

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception as error:
            logger.error("%s", redacted_message(error))  # noqa: TRY400  # what is raised on is logged there
            raise
        finally:
            seconds = perf_counter() - started
            who = " ".join(filter(None, (request_id, scope.get(KEY_NAME))))
            logger.info("%s %s %.2f s %s", _describe_request(scope), status, seconds, who)


def _read_request_id(scope: Scope) -> str:
    """Take the id that a client gives, if it can stand in a line of the log; else make one."""
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return redact(given) if _REQUEST_ID.fullmatch(given) else f"req_{uuid4().hex}"


def _describe_request(scope: Scope) -> str:
    client = (scope.get("client") or ["-"])[0]  # a proxy on this machine says it
    parts = (client, scope["method"], scope["path"])
    return " ".join(_UNPRINTABLE.sub("?", redact(part))[:_MAX_PART_CHARS] for part in parts)
