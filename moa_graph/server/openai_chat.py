"""`POST /v1/chat/completions`: run a mixture, and give its answer whole or as it comes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import AIMessage
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.runs.store import CompiledMoA
from moa_graph.server.errors import ApiError, stopping, translate
from moa_graph.server.openai_messages import (
    Envelope,
    Json,
    Spoken,
    to_langchain,
)
from moa_graph.server.openai_requests import ChatRequest, parse, read_json
from moa_graph.server.responses import Events, RunResponse, unless_hung_up
from moa_graph.server.service import service_of


async def create_completion(request: Request) -> Response:
    """Answer a conversation."""
    service = service_of(request)
    asked = parse(await read_json(request, service.limits), service.limits.messages)
    graph = service.graph(asked.model, asked.sampling)
    if asked.stream:
        events: Events = asyncio.Queue()
        run = service.start(_stream(graph, asked, events))
        return RunResponse(events, run, keep_alive=service.limits.keep_alive)
    answer = await unless_hung_up(request, service.start(_answer(graph, asked)))
    return JSONResponse(Envelope(asked.model).completion(answer))


async def _answer(graph: CompiledMoA, asked: ChatRequest) -> AIMessage:
    try:
        state = await graph.ainvoke({"messages": to_langchain(asked.messages)})
    except Exception as error:
        raise translate(error) from error
    return cast("AIMessage", state["messages"][-1])


async def _stream(graph: CompiledMoA, asked: ChatRequest, events: Events) -> None:
    """Run in a task of its own: what cancels a response would disturb a graph that cleans up."""
    try:
        async for chunk in _chunks(graph, asked):
            events.put_nowait(to_json(chunk).decode())
        events.put_nowait("[DONE]")
    except asyncio.CancelledError:
        events.put_nowait(to_json(stopping().body).decode())
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
        events.put_nowait(to_json(translate(error).body).decode())


async def _chunks(graph: CompiledMoA, asked: ChatRequest) -> AsyncIterator[Json]:
    """Run a mixture, and give its answer in OpenAI's chunks."""
    envelope = Envelope(asked.model)
    yield envelope.chunk({"role": "assistant", "content": ""})
    async for part in _parts(graph, asked):
        if isinstance(part, str):
            yield envelope.chunk({"content": part})
            continue
        yield envelope.chunk({}, part)
        if asked.wants_usage:
            yield envelope.usage_chunk(part)


async def _parts(graph: CompiledMoA, asked: ChatRequest) -> AsyncIterator[str | AIMessage]:
    """Give the text of an answer as it comes, and then the whole message.

    Raises:
        ApiError: If the answer broke off when a part of it was sent: what a fallback writes
            could only be appended to it.
    """
    writer, sent, spoken = None, False, Spoken()
    messages: Any = {"messages": to_langchain(asked.messages)}
    run = graph.astream(messages, stream_mode=["messages", "updates"])
    async with aclosing(cast("AsyncGenerator[Any]", run)) as events:
        async for mode, event in events:
            if mode == "updates" and AGGREGATOR in event:
                answer: AIMessage = event[AGGREGATOR]["messages"][-1]
                if not sent:
                    yield answer.text
                yield answer
            elif mode == "messages" and (token := _token(event)):
                if writer != (writer := token.id):
                    if sent:
                        raise ApiError(502, "the answer broke off; ask again", code="broken_off")
                    spoken = Spoken()
                if text := spoken.hear(token.text):
                    sent = True
                    yield text


def _token(event: tuple[AIMessage, dict[str, Any]]) -> AIMessage | None:
    """Give a piece of the final answer that has text in it."""
    message, metadata = event
    return message if metadata["langgraph_node"] == AGGREGATOR and message.text else None
