"""White space before a slow answer, so that proxies keep waiting.

Proxies and some clients give up after one to five minutes without data. JSON may begin with white
space before the answer. The status is then already 200, so a later error is reported only in the
body.
"""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moa_graph.redaction import redacted_message
from moa_graph.server.errors import to_api_error
from moa_graph.server.origin_policy import API_PREFIX

logger = logging.getLogger("moa_graph.server")

_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # nginx buffers small chunks
    ],
}
_BEAT: Message = {"type": "http.response.body", "body": b" ", "more_body": True}


class HeartbeatMiddleware:
    """Sends white space at an interval until an answer starts."""

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        if is_post and scope["path"].startswith(API_PREFIX):
            await _BeatingResponse(receive, send, self._seconds).run(self._app, scope)
        else:
            await self._app(scope, receive, send)


class _BeatingResponse:
    """One response with white space before it."""

    def __init__(self, receive: Receive, send: Send, seconds: float) -> None:
        self._receive, self._send, self._seconds = receive, send, seconds
        self._is_read = asyncio.Event()  # a stream starts as soon as its request is read
        self._lock = asyncio.Lock()
        self._has_beaten = self._is_answered = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        beats = asyncio.create_task(self._send_beats())
        try:
            await app(scope, self._read, self._send_answer)
        except Exception as error:
            if not self._has_beaten:
                raise
            logger.error("%s", redacted_message(error))  # noqa: TRY400  # as where it is raised on
            await to_api_error(error).to_response(scope)(scope, self._read, self._send_answer)
        finally:
            beats.cancel()

    async def _read(self) -> Message:
        message = await self._receive()
        if not message.get("more_body"):
            self._is_read.set()
        return message

    async def _send_answer(self, message: Message) -> None:
        async with self._lock:
            self._is_answered = True
            if message["type"] != "http.response.start" or not self._has_beaten:
                await self._send(message)

    async def _send_beats(self) -> None:
        await self._is_read.wait()
        while True:
            await asyncio.sleep(self._seconds)
            async with self._lock:
                if self._is_answered:
                    return
                if not self._has_beaten:
                    await self._send({**_START, "headers": [*_START["headers"]]})
                self._has_beaten = True
                await self._send(_BEAT)
