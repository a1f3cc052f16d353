"""Streams of plain chunks say what streams of the openai client's say."""

import asyncio

import pytest
from clock import Clock
from langchain_openai import ChatOpenAI, StreamChunkTimeoutError

from moa_graph.models.agent import Agent, build_model
from moa_graph.models.openai.fast_streams import fill_missing_fields

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
        return vars(caught.value)

    assert end_of(plain) == end_of(usual)
    assert end_of(plain)["chunks_received"] == 2


def test_stream_that_has_begun_is_not_waited_for_long(server, chunks):
    server.model("m", reply="an answer in words", until_token=lambda position: position < 2)
    agent = Agent(model="openai:m", base_url=server.url, stream_chunk_timeout=0.2, max_retries=0)
    with pytest.raises(StreamChunkTimeoutError) as caught:
        chunks(build_model(agent))
    assert caught.value.timeout_s == 0.2
    assert caught.value.chunks_received == 3


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
    chunk = {"choices": [{"delta": {"tool_calls": [call]}}, {"index": 1}]}
    assert fill_missing_fields(chunk)["choices"] == [
        {"delta": {"tool_calls": [{"function": {"name": "look"}, "index": None}]}},
        {"index": 1, "delta": None},
    ]
    calls = {"choices": [{"delta": {"tool_calls": [None]}}, {"delta": "text"}]}
    for other in ({"choices": None}, {"choices": [None]}, {}, [], "text", calls):
        assert fill_missing_fields(other) == other
