"""A lean server that speaks OpenAI's chat completions: what it costs must not blur a measurement.

It runs in a process of its own, on the last processor. A model is its name; how each behaves is
told at the start: seconds of latency (or how they are drawn), words of an answer, tokens a second.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import exp
from typing import Any

Json = dict[str, Any]
DEFAULT: Json = {"latency": 0.0, "at_once": 0, "words": 200, "rate": 0.0}


class Server:
    """Where a started server listens, and what it counted."""

    def __init__(self, port: int, pid: int) -> None:
        self.root, self.pid = f"http://127.0.0.1:{port}", pid

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def take_counts(self) -> Json:
        """Read the counters, and set them to zero.

        Returns:
            `calls`, `streamed`, `hung_up` (calls that their client left), `words` (that were
            answered), `words_lost` (that those calls would have brought), `peak` (calls at a
            time) and `connections` (opened).
        """
        with urllib.request.urlopen(f"{self.root}/take_counts") as response:
            return json.load(response)


@contextmanager
def serving(models: Mapping[str, Json] | None = None) -> Iterator[Server]:
    """Start the server, pin it to the last processor and this process to the others.

    Args:
        models: How each model behaves, `"*"` all others: `latency`, in seconds, or the
            parameters of its draw (`median`, `sigma`, `stall`, `stalled`); `at_once`, how many
            first calls are answered without latency; `words`, of an answer; `rate`, tokens a
            second of a streamed answer (0: all at once).
    """
    processors = sorted(os.sched_getaffinity(0))
    command = [sys.executable, __file__, "--models", json.dumps(models or {})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if len(processors) > 1:
            os.sched_setaffinity(process.pid, processors[-1:])
            os.sched_setaffinity(0, processors[:-1])
        assert process.stdout
        yield Server(int(process.stdout.readline()), process.pid)
    finally:
        os.sched_setaffinity(0, processors)
        process.kill()
        process.communicate()


_TOLD = {"calls", "streamed", "hung_up", "words", "words_lost", "peak", "connections"}


class Counts:
    """What the server counts."""

    def __init__(self) -> None:
        self.calls = self.streamed = self.hung_up = self.words = self.words_lost = 0
        self.running = self.peak = self.connections = 0
        self._requests: Counter[str] = Counter()
        self._calls_of: Counter[str] = Counter()

    def take(self) -> Json:
        told = {name: count for name, count in vars(self).items() if name in _TOLD}
        running = self.running
        self.__init__()
        self.running = running
        return told

    def count_request(self, path: bytes, request: Json) -> int:
        """Count a request, and tell how often the same came before by the same path."""
        self._calls_of[request["model"]] += 1
        key = f"{path!r} {request['model']} {request['messages'][-1]['content']}"
        self._requests[key] += 1
        return self._requests[key] - 1

    def calls_of(self, model: str) -> int:
        """Tell how many requests a model has had."""
        return self._calls_of[model]


class Connection(asyncio.Protocol):
    """One connection of a client; one request at a time."""

    def __init__(self, models: Mapping[str, Json], counts: Counts) -> None:
        self._models, self._counts = models, counts
        self._buffer = bytearray()
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._counts.connections += 1

    def connection_lost(self, _: Exception | None) -> None:
        if self._answering:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        _, found, length = head.partition(b"content-length:")
        whole = end + 4 + (int(length.split(b"\r\n", 1)[0]) if found else 0)
        if len(self._buffer) < whole:
            return
        body = bytes(self._buffer[end + 4 : whole])
        del self._buffer[:whole]
        if head.startswith(b"get /take_counts"):
            self._send(self._counts.take())
        elif head.startswith(b"get "):  # what it serves, which it does not say
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        else:
            self._answering = asyncio.ensure_future(self._answer(head.split()[1], json.loads(body)))

    async def _answer(self, path: bytes, request: Json) -> None:
        model, counts = request["model"], self._counts
        behaviour = {**DEFAULT, **self._models.get(model, self._models.get("*", {}))}
        words = behaviour["words"]
        counts.calls += 1
        counts.running += 1
        counts.peak = max(counts.peak, counts.running)
        try:
            repeated = counts.count_request(path, request)
            if counts.calls_of(model) > behaviour["at_once"]:
                await asyncio.sleep(draw_latency(behaviour["latency"], request, repeated))
            if request.get("stream"):
                counts.streamed += 1
                await self._stream(request, words, behaviour["rate"])
            else:
                self._transport.write(_completion(model, words))
            counts.words += words
        except asyncio.CancelledError:
            counts.hung_up += 1
            counts.words_lost += words
        finally:
            counts.running -= 1

    async def _stream(self, request: Json, words: int, rate: float) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number, event in enumerate(_events(request["model"], words)):
            if rate and (wait := begun + number / rate - loop.time()) > 0:
                await asyncio.sleep(wait)
            self._transport.write(event)
        if (request.get("stream_options") or {}).get("include_usage"):
            self._transport.write(_event(_chunk(request["model"], [], usage=_usage(words))))
        self._transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def _send(self, answer: Json) -> None:
        self._transport.write(_response(json.dumps(answer).encode()))


def draw_latency(latency: float | Json, request: Json, repeated: int = 0) -> float:
    """Draw the seconds of a call: the same for the same model and last message.

    Args:
        latency: The seconds, or the parameters of the draw.
        request: The call.
        repeated: How often its client has made it before: each time is another draw.
    """
    if not isinstance(latency, dict):
        return latency
    again = f" {repeated}" if repeated else ""
    drawn = random.Random(f"{request['model']} {request['messages'][-1]['content']}{again}")
    if drawn.random() < latency.get("stall", 0):
        return latency["stalled"]
    return latency["median"] * exp(drawn.gauss(0, latency.get("sigma", 0)))


def _usage(words: int) -> Json:
    return {"prompt_tokens": 1, "completion_tokens": words, "total_tokens": words + 1}


def _response(data: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


@cache
def _completion(model: str, words: int) -> bytes:
    message = {"role": "assistant", "content": "word " * words}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "c-1", "object": "chat.completion", "created": 0, "model": model}
    return _response(json.dumps({**whole, "choices": [choice], "usage": _usage(words)}).encode())


def _chunk(model: str, choices: list[Json], **more: Any) -> Json:
    whole = {"id": "c-1", "object": "chat.completion.chunk", "created": 0, "model": model}
    return {**whole, "choices": choices, **more}


def _event(chunk: Json) -> bytes:
    data = f"data: {json.dumps(chunk)}\n\n".encode()
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@cache
def _events(model: str, words: int) -> list[bytes]:
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *[{"content": "word "}] * words, {}]
    reasons = [None] * (words + 1) + ["stop"]
    choices = (
        {"index": 0, "delta": delta, "finish_reason": reason}
        for delta, reason in zip(deltas, reasons, strict=True)
    )
    return [_event(_chunk(model, [choice])) for choice in choices]


async def _serve(models: Mapping[str, Json]) -> None:
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(models, counts), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=json.loads, default={})
    asyncio.run(_serve(parser.parse_args().models))
