"""Streams of plain chunks say what streams of the openai client's say."""

import asyncio
import socket
import threading
from functools import partial
from types import SimpleNamespace
from uuid import uuid4

import pytest
from clock import Clock
from fakes import FakeModel
from langchain_openai import ChatOpenAI, StreamChunkTimeoutError
from openai import APITimeoutError

from moa_graph import MoAError
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.openai.normalization import ChunkNormalizer, normalize_completion
from moa_graph.models.partial_answers import find_partial_answer

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


@pytest.fixture(params=["sync", "async"])
def chunks(request):
    """Read a stream to its end."""

    def read(model):
        if request.param == "sync":
            return list(model.stream("q"))

        async def all_of_it():
            return [each async for each in model.astream("q")]

        return asyncio.run(all_of_it())

    return read


def said(chunks):
    fields = {"id", "response_metadata"}
    return [each.model_dump(exclude=fields) | each.response_metadata for each in chunks]


@pytest.mark.parametrize("reply", ["an answer in words", {"look": {"at": "it"}}])
def test_chunks_are_those_of_the_openai_client(reply, server, chunks):
    server.model("m", reply=reply)
    plain = build_model(Agent(model="openai:m", base_url=server.url))
    usual = ChatOpenAI(model="m", base_url=server.url, api_key="none", stream_usage=True)
    assert said(chunks(plain.bind_tools(TOOLS))) == said(chunks(usual.bind_tools(TOOLS)))
    assert all(call.streamed for call in server.calls)


def test_stream_that_breaks_off_is_an_error(server, chunks):
    server.model("m", reply="an answer in words", always="truncate")
    plain = build_model(Agent(model="openai:m", base_url=server.url, max_retries=0))
    with pytest.raises(Exception, match=r"(?i)connection|closed|read|incomplete"):
        chunks(plain)


def test_stream_that_stalls_ends_as_langchain_s_own_does(server, monkeypatch):
    monkeypatch.setenv("LANGCHAIN_OPENAI_STREAM_CHUNK_TIMEOUT_S", "0.2")
    server.model("m", reply="an answer in words", until_token=lambda position: position < 1)
    plain = build_model(Agent(model="openai:m", base_url=server.url))
    usual = ChatOpenAI(model="m", base_url=server.url, api_key="none")

    async def read(model, clock):
        async for chunk in model.astream("q"):
            if chunk.text:  # the next one never comes
                clock.go()

    def end_of(model):
        with monkeypatch.context() as patch:
            clock = Clock(patch)
            with pytest.raises(StreamChunkTimeoutError) as caught:
                asyncio.run(read(model, clock))
        return {n: v for n, v in vars(caught.value).items() if n != "moa_partial_answer"}

    assert end_of(plain) == end_of(usual)
    assert end_of(plain)["chunks_received"] == 2


def test_stream_that_has_begun_is_not_waited_for_long(server, chunks):
    server.model("m", reply="an answer in words", until_token=lambda position: position < 2)
    agent = Agent(model="openai:m", base_url=server.url, stream_chunk_timeout=0.2, max_retries=0)
    with pytest.raises(StreamChunkTimeoutError) as caught:
        chunks(build_model(agent))
    assert caught.value.timeout_s == 0.2
    assert caught.value.chunks_received == 3


@pytest.fixture
def silent_server():
    """A server that begins a stream and sends no chunk; gives its address."""
    headers = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"

    def begin_stream(listening):
        connection, _ = listening.accept()
        with connection:
            connection.sendall(headers)
            while connection.recv(65_536):  # until the client hangs up
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=begin_stream, args=[listening])
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        thread.join()


def test_first_chunk_of_a_stream_is_bounded_by_the_timeout_alone(silent_server, chunks):
    bounds = {"stream_chunk_timeout": 0.1, "timeout": 0.5, "max_retries": 0}
    with pytest.raises((APITimeoutError, TimeoutError)) as caught:
        chunks(build_model(Agent(model="openai:m", base_url=silent_server, **bounds)))
    assert not isinstance(caught.value, StreamChunkTimeoutError)


def test_bound_of_a_stream_is_gone_when_its_connection_is_used_again(server):
    model = build_model(Agent(model="openai:m", base_url=server.url, stream_chunk_timeout=60.0))
    server.model("m", reply="an answer")
    assert ["".join(each.text for each in model.stream("q")) for _ in range(2)] == ["an answer"] * 2
    assert model.invoke("q").text == "an answer"


async def test_others_run_between_chunks_that_come_at_once(server):
    server.model("m", reply="word " * 200)
    plain = build_model(Agent(model="openai:m", base_url=server.url))
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    seen = [turns async for _ in plain.astream("q")]
    other.cancel()
    assert seen == sorted(set(seen))


def test_what_some_servers_leave_out_is_filled_in():
    call = {"function": {"name": "look"}}
    chunk = {"choices": [{"delta": {"tool_calls": [call]}}, {"index": 0}]}
    [filled] = ChunkNormalizer().normalize(chunk)
    assert filled["choices"] == [
        {
            "delta": {"tool_calls": [{"function": {"name": "look"}, "index": None}]},
            "finish_reason": None,
        },
        {"index": 0, "delta": None, "finish_reason": None},
    ]
    calls = {"choices": [{"delta": {"tool_calls": [None]}}, {"delta": "text"}]}
    for other in ({"choices": None}, {"choices": [None]}, {}, [], "text", None, calls):
        assert [*ChunkNormalizer().normalize(other)] == [other]
        assert normalize_completion(other) == other


def chunk(delta, reason=None, **more):
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "created": 0, "choices": [choice]} | more


def tokens(read, written):
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": int(read or 0) + int(written or 0),
    }


USAGE = {"choices": [], "usage": tokens(10, 5)}
DONE = "data: [DONE]"


@pytest.fixture
def answer_of(server, chunks):
    """Give the message that the chunks of a stream add up to."""

    def read(*events):
        server.model("m", events=events)
        model = build_model(Agent(model="openai:m", base_url=server.url, max_retries=0))
        first, *others = chunks(model)
        return sum(others, first)

    return read


@pytest.mark.parametrize(
    "usages",
    [
        [tokens(10, 1), tokens(10, 2), tokens(10, 3)],
        [tokens(10, 3), None, None],
        [None, tokens(10, 0), tokens(10, 3)],
        [tokens(10, 0), None, {"completion_tokens": 3}],
        [tokens("10", "1"), tokens(10, 3), {"prompt_tokens": "?", "completion_tokens": 3}],
    ],
)
def test_totals_in_several_chunks_are_not_added_up(usages, answer_of):
    words = [chunk({"content": "word "}, usage=usage) for usage in usages]
    answer = answer_of(*words, chunk({}, "stop"), DONE)
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (
        10,
        3,
    )
    assert answer.text == "word word word "


@pytest.mark.parametrize("reasons", [["length"], ["length", "length"], ["length", "stop"]])
def test_reason_that_comes_twice_is_one_reason(reasons, answer_of):
    ends = [chunk({"content": ""}, reason) for reason in reasons]
    answer = answer_of(chunk({"content": "cut"}), *ends, USAGE, DONE)
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata["total_tokens"] == 15


def test_halves_of_a_character_in_two_chunks_are_joined(answer_of):
    halves = [chunk({"content": "go \ud83d"}), chunk({"content": "\ude80 up \ud83d"})]
    assert answer_of(*halves, chunk({}, "stop"), DONE).text == "go \U0001f680 up ?"


@pytest.mark.parametrize("role", ["", None, "model", "user", "system", "tool"])
def test_role_of_a_streamed_answer_does_not_matter(role, answer_of):
    answer = answer_of(chunk({"role": role, "content": "fine"}), chunk({}, "stop"), DONE)
    assert (answer.type, answer.text) == ("AIMessageChunk", "fine")


@pytest.mark.parametrize(
    "pieces",
    [
        ["<th", "ink>SECRET</thi", "nk>\n\nans"],
        ["[THINK]", "SECRET", "[/THINK]ans"],
        [
            "<|channel|>analysis<|message|>SECRET<|",
            "end|><|start|>assistant<|channel|>final<|mes",
            "sage|>ans",
        ],
        ["ans", "<think>SECRET", "</think>"],
    ],
)
def test_thoughts_are_no_part_of_a_stream(pieces, chunks, server):
    words = [chunk({"content": piece}) for piece in pieces]
    server.model("m", events=[*words, chunk({}, "stop"), DONE])
    streamed = chunks(build_model(Agent(model="openai:m", base_url=server.url)))
    assert "".join(each.text for each in streamed) == "ans"


THOUGHT = [{"content": "SEC"}, {"content": "RET</thi"}, {"content": "nk>ans"}]


@pytest.fixture
def thinker(server, chunks):
    """A model that nothing is known of, and what its streams show that consist of such deltas."""
    name = f"thinker-{uuid4().hex}"  # what is learned is remembered in this process

    def build(**options):
        return build_model(Agent(model=f"openai:{name}", base_url=server.url, **options))

    def shown(model, *deltas):
        server.model(name, events=[*map(chunk, deltas), chunk({}, "stop"), DONE])
        return "".join(each.text for each in chunks(model))

    return SimpleNamespace(name=name, build=build, shown=shown)


def test_thought_that_begins_in_the_prompt_is_known_from_the_second_stream_on(thinker):
    shown = partial(thinker.shown, thinker.build())
    assert shown(*THOUGHT) == "SECRETans"
    assert [shown(*THOUGHT) for _ in range(2)] == ["ans", "ans"]
    assert thinker.shown(thinker.build(), *THOUGHT) == "ans"  # whoever asks the model
    assert shown({"reasoning": "SECRET"}, {"content": "ans"}) == "ans"
    assert shown(*THOUGHT) == "SECRETans"
    assert shown({"content": "no "}, {"content": "thought"}) == "no thought"
    assert shown(*THOUGHT) == "SECRETans"


def test_whole_answer_shows_that_thoughts_begin_in_the_prompt(thinker, server):
    server.model(thinker.name, reply="SECRET</think>ans")
    thinker.build().invoke("q")
    assert thinker.shown(thinker.build(), *THOUGHT) == "ans"
    server.model(thinker.name, reply="ans")
    thinker.build().invoke("q")
    assert thinker.shown(thinker.build(), *THOUGHT) == "SECRETans"


def test_agent_says_that_its_answers_begin_in_a_thought(thinker):
    model = thinker.build(starts_in_thought=True)
    assert thinker.shown(model, *THOUGHT) == "ans"
    assert thinker.shown(model, {"content": "no thought"}) == "no thought"
    assert thinker.shown(model, *THOUGHT) == "ans"


@pytest.mark.parametrize("model", ["offline:lead", FakeModel()])
def test_option_for_thoughts_is_refused_where_it_has_no_effect(model):
    with pytest.raises(ValueError, match="`starts_in_thought`=True has no effect"):
        Agent(model=model, starts_in_thought=True)


@pytest.mark.parametrize("end", ["finish reason", "[DONE]", "neither"])
def test_stream_is_whole_by_a_finish_reason_or_by_done(end, answer_of):
    """Of OpenAI-compatible servers, some send no finish reason, and others no `[DONE]`."""
    events = {"finish reason": [chunk({}, "stop")], "[DONE]": [DONE], "neither": []}[end]
    if end == "neither":
        with pytest.raises(MoAError, match="the stream ended without a finish reason"):
            answer_of(chunk({"content": "ans"}))
    else:
        assert answer_of(chunk({"content": "ans"}), *events).text == "ans"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_beside_a_streamed_text_are_no_part_of_it(field, answer_of):
    thought = chunk({field: "SECRET", "content": None})
    answer = answer_of(thought, chunk({"content": "ans"}), chunk({}, "stop"), DONE)
    assert answer.text == "ans"


ENDS = {
    "the response ended": [],
    "an error of the provider's": [{"error": {"message": "overloaded", "code": 502}}],
    "an error event": ['event: error\ndata: {"type": "error", "message": "overloaded"}'],
    "an error event in plain text": ["event: error\ndata: overloaded"],
    "an error of an older vLLM": [{"object": "error", "message": "overloaded", "code": 500}, DONE],
    "an error of FastAPI": [{"detail": "overloaded"}, DONE],
    "an error of a gateway": [{"message": "overloaded", "code": "quota"}, DONE],
    "an error that is a text": [{"error": "overloaded"}],
    "an error in a choice": [
        {"choices": [{"delta": {}, "finish_reason": "error", "error": {"message": "overloaded"}}]}
    ],
}


@pytest.mark.parametrize("end", ENDS)
def test_stream_without_its_end_is_an_error_with_what_came_before(end, answer_of):
    with pytest.raises(Exception, match=r"broke off|overloaded") as caught:
        answer_of(
            chunk({"content": "one "}, usage=tokens(10, 1)), chunk({"content": "two"}), *ENDS[end]
        )
    partial = find_partial_answer(caught.value)
    assert partial.text == "one two"
    assert partial.usage["total_tokens"] == 11


def test_end_by_done_alone_is_an_end_where_the_server_may_give_no_reason(answer_of):
    assert answer_of(chunk({"content": "whole"}), DONE).text == "whole"


@pytest.mark.parametrize(
    "said",
    [
        [chunk({"refusal": "I cannot "}), chunk({"refusal": "do that."}), chunk({}, "stop")],
        [
            chunk({}, "content_filter")
            | {"prompt_filter_results": [{"hate": {"filtered": True, "why": "I cannot do that."}}]}
        ],
    ],
)
def test_what_a_provider_says_about_a_missing_answer_is_repeated(said, answer_of):
    with pytest.raises(MoAError, match=r"I cannot do that\.") as caught:
        answer_of(*said, USAGE, DONE)
    assert find_partial_answer(caught.value).usage["total_tokens"] == 15


def test_second_answer_in_a_stream_is_no_part_of_the_first(answer_of):
    def both(first, second):
        return chunk({"content": first})["choices"] + [{"index": 1, "delta": {"content": second}}]

    other = {"choices": [{"index": 1, "delta": {"content": "other"}}]}
    answer = answer_of({"choices": both("one ", "a ")}, other, chunk({"content": "two"}, "stop"))
    assert answer.text == "one two"
