"""Recorded responses that a second client can receive."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from moa_graph.server.request_record import current_record

REJOINED_HEADER = "x-moa-rejoined"
MAX_UNHEARD = 64  # maximum number of stored responses without a listener

_FIRST_ERROR = 400


class KeptResponse:
    """A stored response, from its first part on, and its listeners."""

    def __init__(self, identity: str, *, is_named: bool) -> None:
        self.identity = identity
        """Identity of the request."""
        self.is_named = is_named
        """Whether its client sent an `Idempotency-Key`: others can join while it listens."""
        self.listeners = 1  # its own client
        self.origin = current_record()
        """Log record of the original request."""
        self.is_over = False
        self.abandoned = asyncio.Event()
        """Set when no client can join any more."""
        self.expiry: asyncio.TimerHandle | None = None
        self._messages: list[Message] = []
        self._changed = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether a part of the response exists."""
        return bool(self._messages)

    @property
    def is_error(self) -> bool:
        """Whether its status is an error: a retry must not receive it."""
        return any(each.get("status", 0) >= _FIRST_ERROR for each in self._messages[:1])

    async def record(self, message: Message) -> None:
        """Store a part."""
        self._messages.append(message)
        self.wake_listeners()

    def end(self) -> None:
        """Record that the response is complete."""
        self.is_over = True
        self.wake_listeners()

    def wake_listeners(self) -> None:
        """Wake the listeners to check for new parts and disconnected clients."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def play(self, send: Send, is_gone: Callable[[], bool], *, rejoined: bool) -> bool:
        """Send existing and new parts; return whether the client received all."""
        position = 0
        while not is_gone():
            if position < len(self._messages):
                message = self._messages[position]
                await send(_copy_message(message, rejoined=rejoined))
                position += 1
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    return True
            elif self.is_over:
                return True
            else:
                await self._changed.wait()
        return False


class KeptResponses:
    """The stored responses of one server."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._responses = defaultdict[str, list[KeptResponse]](list)
        self._unheard: dict[KeptResponse, None] = {}

    def add(self, response: KeptResponse) -> None:
        """Add a response whose request has been read."""
        self._responses[response.identity].append(response)

    def join(self, identity: str) -> KeptResponse | None:
        """Return a response for a request with this identity, and count a listener."""
        for response in self._responses.get(identity, ()):
            if response.is_named or not response.listeners:
                response.listeners += 1
                self._unheard.pop(response, None)
                if response.expiry:
                    response.expiry.cancel()
                return response
        return None

    def leave(self, response: KeptResponse, *, heard: bool) -> None:
        """Remove a listener; without any, wait a while for another."""
        response.listeners -= 1
        if response.listeners:
            return
        if (heard and not response.is_named) or (response.is_over and response.is_error):
            self._drop(response)
            return
        loop = asyncio.get_running_loop()
        response.expiry = loop.call_later(self._seconds, self._drop, response)
        self._unheard[response] = None
        if len(self._unheard) > MAX_UNHEARD:
            self._drop(next(iter(self._unheard)))

    def end(self, response: KeptResponse) -> None:
        """Record that a response is complete; an error without a listener is deleted."""
        response.end()
        if not response.listeners and response.is_error:
            self._drop(response)

    def _drop(self, response: KeptResponse) -> None:
        """Delete a response; its run is cancelled if it is running."""
        response.abandoned.set()
        if response.expiry:
            response.expiry.cancel()
        self._unheard.pop(response, None)
        kept = self._responses.get(response.identity, [])
        if response in kept:
            kept.remove(response)
        if not kept:
            self._responses.pop(response.identity, None)


def _copy_message(message: Message, *, rejoined: bool) -> Message:
    """Copy a part, because outer middleware adds its own headers to each."""
    if message["type"] != "http.response.start":
        return message
    copy = {**message, "headers": [*message.get("headers", ())]}
    if rejoined:
        MutableHeaders(scope=copy)[REJOINED_HEADER] = "true"
    return copy
