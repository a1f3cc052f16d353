"""A server that never stops, or says more than any answer has, is stopped."""

import asyncio
import gzip
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from threading import Event, Thread

import pytest
from waiting import PATIENCE

from moa_graph import Agent, create_moa
from moa_graph.models.agent import build_model
from moa_graph.models.openai import normalization, response_limits
from moa_graph.models.openai.response_limits import ResponseTooLargeError
from moa_graph.redaction import MAX_ERROR_CHARS, redacted_message

DELTA = {"index": 0, "delta": {"content": "word " * 2_000}, "finish_reason": None}
WORDS = f"data: {json.dumps({'choices': [DELTA]})}\n\n".encode()
THOUGHT = WORDS.replace(b'"content"', b'"reasoning_content"')
ARGUMENTS = json.dumps(
    [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "x" * 10_000}}]
)
CALL = f'data: {{"choices": [{{"index": 0, "delta": {{"tool_calls": {ARGUMENTS}}}}}]}}\n\n'.encode()


class Endless:
    """A server whose answers are made of parts, without an end."""

    def __init__(self, parts, status=200, headers=()):
        self.asked, self.hung_up = [], Event()
        endless = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                endless.asked.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for part in parts:
                        self.wfile.write(part)
                except OSError:
                    endless.hung_up.set()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def running(self):
        thread = Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(normalization, "MAX_STREAMED_CHARS", 1_000_000)
    monkeypatch.setattr(response_limits, "MAX_RESPONSE_BYTES", 1_000_000)
    monkeypatch.setattr(response_limits, "MAX_STREAM_BYTES", 5_000_000)
    monkeypatch.setattr(response_limits, "MAX_LINE_BYTES", 1_000_000)


@pytest.fixture(params=["sync", "async"])
def ask(request):
    """Ask a model, whole or as a stream."""

    def ask(server, *, stream=False, retries=0):
        model = build_model(Agent(model="openai:m", base_url=server.url, max_retries=retries))
        if request.param == "sync":
            return list(model.stream("q")) if stream else model.invoke("q")

        async def all_of_it():
            if stream:
                return [each async for each in model.astream("q")]
            return await model.ainvoke("q")

        return asyncio.run(all_of_it())

    return ask


ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}}]}


class TwoAnswers:
    """The parts of an answer, and of one without an end from then on."""

    def __init__(self):
        self._answers = chain([[json.dumps(ANSWER).encode()]], repeat(repeat(b" " * 10_000)))

    def __iter__(self):
        return iter(next(self._answers))


JSON = [("content-type", "application/json")]
EVENTS = [("content-type", "text/event-stream")]


@pytest.mark.usefixtures("small_limits")
def test_stream_without_end_is_stopped_and_says_so(ask):
    with Endless(repeat(WORDS), headers=EVENTS).running() as server:
        chunks = ask(server, stream=True)
        assert server.hung_up.wait(PATIENCE)
    text = "".join(each.text for each in chunks)
    mark = "\n[stopped here: more than 1,000,000 characters]"
    assert text.endswith(mark)
    assert 1_000_000 < len(text.removesuffix(mark)) <= 1_010_000
    assert [each for c in chunks if (each := c.response_metadata.get("finish_reason"))] == [
        "length"
    ]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("event", [THOUGHT, CALL], ids=["thought", "call"])
def test_thoughts_and_calls_without_end_are_stopped(event, ask):
    with Endless(repeat(event), headers=EVENTS).running() as server:
        chunks = ask(server, stream=True)
        assert server.hung_up.wait(PATIENCE)
    assert len(chunks) < 110


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    ("part", "said"),
    [
        (b": waiting\n\n" * 1_000, "the stream has more than 5,000,000 bytes"),
        (b"data: " + b"x" * 10_000, "a line of the stream has more than 1,000,000 bytes"),
    ],
    ids=["comments", "a line"],
)
def test_stream_of_no_answer_is_stopped(part, said, ask):
    with Endless(repeat(part), headers=EVENTS).running() as server:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # the client's own
            ask(server, stream=True)
        assert server.hung_up.wait(PATIENCE)
    assert redacted_message(caught.value).endswith(said)


@pytest.mark.usefixtures("small_limits")
def test_answer_without_end_is_not_read_further(ask):
    with Endless(repeat(b" " * 10_000), headers=JSON).running() as server:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # the client's own
            ask(server)
        assert server.hung_up.wait(PATIENCE)
    assert redacted_message(caught.value).endswith("the response has more than 1,000,000 bytes")


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("stream", [False, True])
def test_answer_without_end_is_not_asked_for_again(stream, ask):
    part, headers = (b": waiting\n\n" * 1_000, EVENTS) if stream else (b" " * 10_000, JSON)
    with Endless(repeat(part), headers=headers).running() as server:
        with pytest.raises(ResponseTooLargeError, match=f"^{server.url}: "):
            ask(server, stream=stream, retries=2)
        assert server.hung_up.wait(PATIENCE)
    assert len(server.asked) == 1


@pytest.mark.usefixtures("small_limits")
def test_later_answer_without_end_is_not_asked_for_again():
    """Requests that the openai client only builds: those behind the first of an async client."""
    with Endless(TwoAnswers(), headers=JSON).running() as endless:
        agent = Agent(model="openai:m", base_url=endless.url, max_retries=2)

        async def ask_twice():
            model = build_model(agent)
            assert (await model.ainvoke("q")).text == "fine"
            with pytest.raises(ResponseTooLargeError):
                await model.ainvoke("q")

        asyncio.run(ask_twice())
        assert endless.hung_up.wait(PATIENCE)
    assert len(endless.asked) == 2


@pytest.mark.usefixtures("small_limits")
def test_packed_answer_is_measured_unpacked(ask):
    packed = gzip.compress(b" " * 100_000_000)
    headers = [*JSON, ("content-encoding", "gzip"), ("content-length", str(len(packed)))]
    with Endless([packed], headers=headers).running() as server, pytest.raises(Exception) as caught:  # noqa: PT011  # the client's own
        ask(server)
    assert redacted_message(caught.value).endswith("the response has more than 1,000,000 bytes")


def test_answer_of_many_items_is_refused_before_it_is_parsed(ask, monkeypatch):
    """As objects, a hundred megabytes of `{},` take 2.4 GB, and stop all other runs for seconds."""
    monkeypatch.setattr(response_limits, "MAX_RESPONSE_ITEMS", 1_000)
    packed = gzip.compress(json.dumps(ANSWER | {"more": [{}] * 1_000}).encode())
    headers = [*JSON, ("content-encoding", "gzip"), ("content-length", str(len(packed)))]
    with Endless([packed], headers=headers).running() as server, pytest.raises(Exception) as caught:  # noqa: PT011  # the client's own
        ask(server)
    said = "the response has more than 1,000 items in its lists and objects"
    assert redacted_message(caught.value).endswith(said)


def test_answer_with_many_commas_in_its_text_is_taken(ask, monkeypatch):
    monkeypatch.setattr(response_limits, "MAX_RESPONSE_ITEMS", 1_000)
    table = {"role": "assistant", "content": "1, {2}, [3]\n" * 1_000}
    body = json.dumps({"choices": [{"index": 0, "message": table}]}).encode()
    headers = [*JSON, ("content-length", str(len(body)))]
    with Endless([body], headers=headers).running() as server:
        assert ask(server).text == table["content"]


def test_packed_answer_is_unpacked(ask):
    packed = gzip.compress(json.dumps(ANSWER).encode())
    headers = [*JSON, ("content-encoding", "gzip"), ("content-length", str(len(packed)))]
    with Endless([packed], headers=headers).running() as server:
        assert ask(server).text == "fine"


def test_error_without_end_is_cut(ask):
    with Endless(repeat(b"no " * 10_000), status=400, headers=JSON).running() as server:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # the client's own
            ask(server)
        assert server.hung_up.wait(PATIENCE)
    assert len(redacted_message(caught.value)) < MAX_ERROR_CHARS + 50
    assert len(str(caught.value)) < 2 * response_limits.MAX_ERROR_BYTES


@pytest.mark.usefixtures("small_limits")
def test_one_endless_answer_costs_a_layer_no_other(invoke, server):
    with Endless(repeat(b" " * 10_000), headers=JSON).running() as other:
        endless = Agent(model="openai:m", base_url=other.url, max_retries=0)
        fine = Agent(model="openai:fine", base_url=server.url)
        result = invoke(create_moa([{"a": endless, "b": fine}], fine).compile(), {"messages": "q"})
    failed = result["proposals"]["layer_1_a"]
    assert failed["error"].endswith("the response has more than 1,000,000 bytes")
    assert failed["may_be_billed"]
    assert result["proposals"]["layer_1_b"]["content"] == "fine on q"
