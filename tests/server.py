"""A local server that speaks OpenAI's chat completions: latency, scripted failures, a log.

In a test it runs in a thread of its own (the fixture `server`); `python tests/server.py` runs it
alone, and prints its address.
"""

import argparse
import asyncio
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

Json = dict[str, Any]

FAULTS = {
    "reset": "the connection is reset before an answer",
    "hang": "nothing comes, for an hour",
    "drip": "a byte a second",
    "truncate": "the connection is reset in the middle of the answer",
    "malformed": "JSON that is cut off",
    "no choices": "an answer without choices",
    "empty": "an empty text",
    "content filter": "an empty text, filtered",
    "wrong type": "a page of HTML",
    "huge": "ten megabytes of text",
    "echo key in 200": "status 200, with an error that repeats the key",
    "echo key": "status 403, with the key that was sent in the message and in a header",
}
HUGE = 10_000_000


@dataclass
class Behaviour:
    """What a model of the server does."""

    reply: str | Json | Callable[[Json], str | Json] | None = None
    """What it answers; by default its name and the last words it was asked. Names of tools mapped
    to their arguments are calls of them."""
    latency: float = 0.0
    """Seconds until the answer, or until its first token."""
    until: Callable[[], bool] | None = None
    """What must be so before anything is answered."""
    chunk_delay: float = 0.0
    """Seconds between the tokens of a streamed answer."""
    faults: list[int | str | None] = field(default_factory=list)
    """What goes wrong in the next calls, one each: a status, or one of `FAULTS`."""
    always: int | str | None = None
    """What goes wrong in every call."""
    rates: dict[int | str, float] = field(default_factory=dict)
    """What goes wrong by chance, each with its probability."""
    retry_after: float | None = None
    """Seconds that a response with status 429 asks to wait."""
    finish_reason: str = "stop"
    usage: bool = True
    cached: int = 0
    """How many tokens of a prompt it says it had in its cache."""
    logprobs: Callable[[Json], Json | None] | None = None
    """What it tells of the probabilities of its tokens: `choices[0].logprobs`."""


@dataclass
class Call:
    """A request as it arrived."""

    model: str
    body: Json
    headers: dict[str, str]
    started: float
    ended: float | None = None
    """When it was answered, or when its client hung up; `None` while it runs."""
    answered: bool = False
    fault: int | str | None = None

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def messages(self) -> list[Json]:
        return self.body["messages"]


class ChatServer:
    """The server; `models` says what each model does, `calls` is the log."""

    def __init__(self, port: int = 0, *, logs: bool = True) -> None:
        self.port, self.logs = port, logs
        self.models: dict[str, Behaviour] = {}
        self.calls: list[Call] = []
        self.random = random.Random(0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failed: BaseException | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def model(self, name: str, **behaviour: Any) -> Behaviour:
        self.models[name] = Behaviour(**behaviour)
        return self.models[name]

    def calls_of(self, model: str) -> list[Call]:
        return [call for call in self.calls if call.model == model]

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failed:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                headers = {
                    key.lower(): value for key, _, value in (x.partition(": ") for x in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._request(json.loads(body or b"{}"), headers, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _request(
        self,
        body: Json,
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        call = Call(body.get("model", ""), body, headers, time.monotonic())
        if self.logs:
            self.calls.append(call)
        behaviour = self.models.get(call.model) or self.models.get("*") or Behaviour()
        answer = asyncio.ensure_future(self._answer(call, behaviour, writer))
        hung_up = asyncio.ensure_future(_closed(reader))
        try:
            await asyncio.wait({answer, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ConnectionResetError
            answer.result()
            call.answered = True
        finally:
            answer.cancel()
            hung_up.cancel()
            call.ended = time.monotonic()

    async def _answer(self, call: Call, behaviour: Behaviour, writer: asyncio.StreamWriter) -> None:
        call.fault = fault = self._fault(behaviour)
        await asyncio.sleep(behaviour.latency)
        while behaviour.until and not behaviour.until():
            await asyncio.sleep(0.02)
        if fault == "reset":
            writer.transport.abort()
        elif fault == "hang":
            await asyncio.sleep(3600)
        elif isinstance(fault, int):
            _send_error(writer, fault, behaviour.retry_after)
        elif fault == "echo key in 200":
            sent = call.headers["authorization"]
            _send(writer, 200, {"error": {"message": f"wrong key: {sent}", "type": "auth"}})
        elif fault == "echo key":
            sent = call.headers["authorization"]
            error = {"error": {"message": f"wrong key: {sent}", "type": "auth", "param": sent}}
            _send(writer, 403, error, f"x-sent: {sent}\r\n")
        elif call.streamed and fault in {None, "truncate"}:
            await _send_stream(writer, call, behaviour, truncated=fault == "truncate")
        else:
            await _send_answer(writer, call, behaviour, fault)
        await writer.drain()

    def _fault(self, behaviour: Behaviour) -> int | str | None:
        if behaviour.faults:
            return behaviour.faults.pop(0)
        if behaviour.always:
            return behaviour.always
        drawn = self.random.random()
        for fault, rate in behaviour.rates.items():
            drawn -= rate
            if drawn < 0:
                return fault
        return None


async def _closed(reader: asyncio.StreamReader) -> None:
    """Wait until the client hangs up, without taking what it sends."""
    while not reader.at_eof():
        await asyncio.sleep(0.02)


def _reply(call: Call, behaviour: Behaviour) -> str | Json:
    if behaviour.reply is None:
        last = call.messages[-1]["content"]
        return f"{call.model} on {last if isinstance(last, str) else last[0].get('text')}"
    return behaviour.reply(call.body) if callable(behaviour.reply) else behaviour.reply


def _message(call: Call, behaviour: Behaviour) -> Json:
    reply = _reply(call, behaviour)
    if isinstance(reply, str):
        return {"role": "assistant", "content": reply}
    calls = [
        {
            "id": f"call_{len(call.messages)}_{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(reply.items())
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _deltas(message: Json) -> list[Json]:
    """Break a message into what is streamed: a word, or a piece of a call, each."""
    tokens = [f"{token} " for token in (message["content"] or "").split(" ")]
    tokens[-1] = tokens[-1].removesuffix(" ")
    deltas: list[Json] = [{"content": token} for token in tokens if message["content"] is not None]
    for index, call in enumerate(message.get("tool_calls", ())):
        whole = call["function"]["arguments"]
        begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        deltas.append({"tool_calls": [begun]})
        for start in range(0, len(whole), 5):
            piece = {"index": index, "function": {"arguments": whole[start : start + 5]}}
            deltas.append({"tool_calls": [piece]})
    return deltas


def _usage(call: Call, answer: Json, cached: int) -> Json:
    asked = sum(len(str(message["content"]).split()) for message in call.messages)
    said = len((answer["content"] or json.dumps(answer["tool_calls"])).split())
    whole = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    return whole | ({"prompt_tokens_details": {"cached_tokens": cached}} if cached else {})


def _completion(call: Call, behaviour: Behaviour) -> Json:
    message = _message(call, behaviour)
    reason = "tool_calls" if "tool_calls" in message else behaviour.finish_reason
    choice = {"index": 0, "message": message, "finish_reason": reason}
    if behaviour.logprobs and call.body.get("logprobs"):
        choice["logprobs"] = behaviour.logprobs(call.body)
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": call.model,
        "choices": [choice],
    }
    return whole | ({"usage": _usage(call, message, behaviour.cached)} if behaviour.usage else {})


async def _send_answer(
    writer: asyncio.StreamWriter, call: Call, behaviour: Behaviour, fault: str | None
) -> None:
    """Send an answer in one piece, or something that is not quite one."""
    whole = _completion(call, behaviour)
    choice = whole["choices"][0]
    if fault == "no choices":
        whole["choices"] = []
    elif fault in {"empty", "content filter"}:
        choice["message"]["content"] = ""
        choice["finish_reason"] = "stop" if fault == "empty" else "content_filter"
    elif fault == "huge":
        choice["message"]["content"] = "huge " * (HUGE // 5)
    data = json.dumps(whole).encode()
    kind = "text/html" if fault == "wrong type" else "application/json"
    if fault == "wrong type":
        data = b"<html><body>Bad gateway</body></html>"
    elif fault == "malformed":
        data = data[: len(data) // 2]
    head = f"HTTP/1.1 200 X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode())
    if fault == "truncate":
        writer.write(data[: len(data) // 2])
        await writer.drain()
        writer.transport.abort()
    elif fault == "drip":
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
    else:
        writer.write(data)


def _send(writer: asyncio.StreamWriter, status: int, body: Json, extra: str = "") -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)


def _send_error(writer: asyncio.StreamWriter, status: int, retry_after: float | None) -> None:
    error = {"message": f"scripted failure {status}", "type": "test", "param": None, "code": None}
    extra = f"retry-after: {retry_after}\r\n" if retry_after is not None else ""
    _send(writer, status, {"error": error}, extra)


async def _send_stream(
    writer: asyncio.StreamWriter, call: Call, behaviour: Behaviour, *, truncated: bool
) -> None:
    message = _message(call, behaviour)
    deltas = _deltas(message)
    writer.write(
        b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )

    def send(event: str) -> None:
        data = f"data: {event}\n\n".encode()
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def chunk(delta: Json, reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        whole = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": call.model,
            "choices": [choice],
        }
        return json.dumps(whole | more)

    send(chunk({"role": "assistant", "content": ""}))
    for position, delta in enumerate(deltas):
        if truncated and position >= len(deltas) / 2:
            writer.transport.abort()
            return
        send(chunk(delta))
        if behaviour.chunk_delay:
            await writer.drain()
            await asyncio.sleep(behaviour.chunk_delay)
    send(chunk({}, "tool_calls" if "tool_calls" in message else behaviour.finish_reason))
    if behaviour.usage and (call.body.get("stream_options") or {}).get("include_usage"):
        send(chunk({}, choices=[], usage=_usage(call, message, behaviour.cached)))
    send("[DONE]")
    writer.write(b"0\r\n\r\n")


def main() -> None:
    """Run alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--rates", type=json.loads, default={}, help="JSON: fault to probability")
    options = parser.parse_args()
    rates = {int(key) if key.isdigit() else key: rate for key, rate in options.rates.items()}
    with ChatServer(options.port, logs=False) as server:
        server.model("*", latency=options.latency, rates=rates)
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
