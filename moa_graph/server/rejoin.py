"""Rejoin a running or finished answer after a client disconnected.

Clients time out and send the same request again, by default twice, which would pay for three runs.
Therefore a run continues for some seconds after its client disconnects, and the same request (key,
path and JSON) in that time receives its answer from the beginning. Equal requests at the same time
are not retries: each starts its own run, unless both have the same `Idempotency-Key`.
"""

import asyncio
import json
from contextlib import suppress
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moa_graph.server.errors import CLIENT_CLOSED_REQUEST, ApiError
from moa_graph.server.json_body import parse_json_body
from moa_graph.server.kept_responses import KeptResponse, KeptResponses
from moa_graph.server.origin_policy import API_PREFIX
from moa_graph.server.request_record import note_joined
from moa_graph.server.service import ServerLimits

_NAME_HEADER = "idempotency-key"
_KEY_HEADERS = ("authorization", "x-api-key")
_MAX_CANONICAL_BYTES = 1_000_000  # sorting the keys of larger bodies would block other requests


class RejoinMiddleware:
    """Produces each response in a separate task, which clients listen to."""

    def __init__(self, app: ASGIApp, *, limits: ServerLimits, seconds: float) -> None:
        self._app, self._limits = app, limits
        self._kept = KeptResponses(seconds)
        self._tasks = set[asyncio.Task[None]]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or join the response of another one."""
        is_asked = scope["type"] == "http" and scope["method"] == "POST"
        if not is_asked or not scope["path"].startswith(API_PREFIX):
            await self._app(scope, receive, send)
            return
        request = _SharedRequest(scope, receive, self._limits, self._kept)
        making = asyncio.create_task(self._make_response(request))
        self._tasks.add(making)
        making.add_done_callback(self._on_made)
        reading = asyncio.create_task(request.was_read.wait())
        try:
            await asyncio.wait({making, reading}, return_when=asyncio.FIRST_COMPLETED)
            if request.joined:
                making.cancel()
                note_joined(request.joined.origin)
            await self._deliver(request, receive, send)
        finally:
            reading.cancel()
        if making.done() and not making.cancelled():
            making.result()

    async def _make_response(self, request: "_SharedRequest") -> None:
        try:
            await self._app(request.scope, request.receive, request.own.record)
        finally:
            self._kept.end(request.own)

    def _on_made(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # no listener needs the error

    async def _deliver(self, request: "_SharedRequest", receive: Receive, send: Send) -> None:
        """Send a response to its client, and detect a disconnect."""
        response = request.joined or request.own
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        gone.add_done_callback(lambda _: response.wake_listeners())
        heard = False
        try:
            heard = await response.play(send, gone.done, rejoined=bool(request.joined))
            if gone.done() and not response.has_begun:
                await Response(status_code=CLIENT_CLOSED_REQUEST)(request.scope, receive, send)
        finally:
            gone.cancel()
            self._kept.leave(response, heard=heard)


class _SharedRequest:
    """A request whose response another client may receive."""

    def __init__(
        self, scope: Scope, receive: Receive, limits: ServerLimits, kept: KeptResponses
    ) -> None:
        self.scope = scope
        self.was_read = asyncio.Event()
        self.joined: KeptResponse | None = None
        """The joined response of another request, if any."""
        self._headers = Headers(scope=scope)
        self.own = KeptResponse("", is_named=_NAME_HEADER in self._headers)
        self._receive, self._limits, self._kept = receive, limits, kept
        self._body = bytearray()

    async def receive(self) -> Message:
        """Return the body; later, report a disconnect when no client waits for the response."""
        if self.was_read.is_set():
            await self.own.abandoned.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect" or len(self._body) > self._limits.body:
            return message
        self._body += message.get("body", b"")
        if not message.get("more_body"):
            await self._end_body()
        return message

    async def _end_body(self) -> None:
        """Look for a response to join; if there is one, the application receives no body."""
        identity = self._find_identity()
        self._body.clear()
        self.joined = self._kept.join(identity)
        self.was_read.set()
        if self.joined:
            await asyncio.Event().wait()  # until cancelled
        self.own.identity = identity
        self._kept.add(self.own)

    def _find_identity(self) -> str:
        shown = [self._headers.get(name, "") for name in (*_KEY_HEADERS, _NAME_HEADER)]
        parts = [*shown, self.scope["path"], self._canonical_body()]
        return sha256("\n".join(parts).encode()).hexdigest()

    def _canonical_body(self) -> str:
        body = bytes(self._body)
        if len(body) <= _MAX_CANONICAL_BYTES:
            with suppress(ApiError):
                return json.dumps(parse_json_body(body, self._limits), sort_keys=True)
        return sha256(body).hexdigest()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
