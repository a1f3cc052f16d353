"""A proxy before a model's server, that keeps what was asked and answered, word for word."""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

Json = dict[str, Any]
EVENT = "data: "


@dataclass
class Call:
    """A request as the client sent it, and what the server answered."""

    body: Json
    status: int | None = None
    """`None` until the server answers."""
    answer: bytearray = field(default_factory=bytearray)
    """What has come of the answer."""

    @property
    def model(self) -> str:
        return self.body["model"]

    @property
    def messages(self) -> list[Json]:
        return self.body["messages"]

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def parts(self) -> list[Json]:
        """The answer: one part, or, if it was streamed, one for each event."""
        text = self.answer.decode()
        if not text.startswith(EVENT):
            return [json.loads(text)]
        events = [line.removeprefix(EVENT) for line in text.split("\n") if line.startswith(EVENT)]
        return [json.loads(event) for event in events if event != "[DONE]"]

    @property
    def text(self) -> str:
        """What the model wrote."""
        choices = [choice for part in self.parts for choice in part["choices"]]
        pieces = [choice.get("message") or choice["delta"] for choice in choices]
        return "".join(piece.get("content") or "" for piece in pieces)

    @property
    def usage(self) -> Json | None:
        """The tokens that the server counted."""
        return next((part["usage"] for part in self.parts if part.get("usage")), None)


class RecordingProxy:
    """The proxy, as long as the `with` block lasts; `calls` is what was asked, in order.

    The server behind it answers whatever the model is called: the names tell the calls of a
    mixture's agents apart.
    """

    def __init__(self, address: str) -> None:
        self.calls: list[Call] = []
        self.faults: dict[str, list[int]] = {}
        """The status of a model's next answers, which the server then does not give."""
        self._address = urlsplit(address).netloc
        self._released: dict[str, threading.Event] = {}
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.proxy = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def calls_of(self, model: str) -> list[Call]:
        return [call for call in self.calls if call.model == model]

    @contextmanager
    def holding(self, model: str) -> Iterator[None]:
        """Give no answer to a model's calls; in the end their connections are closed."""
        released = self._released[model] = threading.Event()
        try:
            yield
        finally:
            del self._released[model]
            released.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, handler: "_Handler", sent: bytes) -> None:
        """Answer a call: with a fault, not at all, or with what the server says."""
        self.calls.append(call := Call(json.loads(sent)))
        if released := self._released.get(call.model):
            released.wait()
        elif faults := self.faults.get(call.model):
            error = json.dumps({"error": {"message": "the proxy's fault"}}).encode()
            self._hand_over(handler, call, faults.pop(0), "application/json", [error])
        else:
            self.forward(handler, call, sent)

    def forward(self, handler: "_Handler", call: Call, sent: bytes | None = None) -> None:
        """Answer with what the server says."""
        server = HTTPConnection(self._address)
        try:
            server.request(handler.command, handler.path, sent)
            answer = server.getresponse()
            pieces = iter(answer.read1, b"")
            self._hand_over(handler, call, answer.status, answer.headers["content-type"], pieces)
        finally:
            server.close()  # where the client hung up, the server stops

    def _hand_over(
        self, handler: "_Handler", call: Call, status: int, kind: str, pieces: Iterable[bytes]
    ) -> None:
        call.status = status
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.end_headers()  # the end of the answer is that of the connection
        for piece in pieces:
            call.answer += piece  # first: whoever has it may look here
            handler.wfile.write(piece)
            handler.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: RecordingProxy


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.proxy.forward(self, Call({}))

    def do_POST(self) -> None:
        with suppress(ConnectionError):
            self.server.proxy.answer(self, self.rfile.read(int(self.headers["content-length"])))

    def log_message(self, *_: object) -> None:
        """Say nothing."""
