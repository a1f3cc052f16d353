"""One line for each request: who, what, how it ended, how long it took. No contents."""

import logging
import re
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moa_graph.redaction import redact, redacted_message

logger = logging.getLogger("moa_graph.server")

_UNLOGGED_PATHS = {"/health"}  # asked for every few seconds by whoever watches the server
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
        started, status = perf_counter(), 500

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception as error:
            logger.error("%s", redacted_message(error))  # noqa: TRY400  # what is raised on is logged there
            raise
        finally:
            seconds = perf_counter() - started
            logger.info("%s %s %.2f s", _describe_request(scope), status, seconds)


def _describe_request(scope: Scope) -> str:
    client = (scope.get("client") or ["-"])[0]  # a proxy on this machine says it
    parts = (client, scope["method"], scope["path"])
    return " ".join(_UNPRINTABLE.sub("?", redact(part))[:_MAX_PART_CHARS] for part in parts)
