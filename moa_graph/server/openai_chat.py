"""`POST /v1/chat/completions`: run a mixture, and give its answer whole or as it comes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import AIMessage
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.prompting.thoughts import ThoughtFilter
from moa_graph.server.errors import ApiError, server_stopping_error, to_api_error
from moa_graph.server.json_types import JsonObject
from moa_graph.server.openai_messages import (
    CompletionEnvelope,
    to_langchain_messages,
)
from moa_graph.server.openai_requests import ChatRequest, parse_chat_request, read_json_body
from moa_graph.server.responses import EventQueue, RunResponse, wait_for_run
from moa_graph.server.service import get_service


async def create_completion(request: Request) -> Response:
    """Answer a conversation."""
    service = get_service(request)
    chat_request = parse_chat_request(
        await read_json_body(request, service.limits), service.limits.messages
    )
    graph = service.get_graph(chat_request.model, chat_request.sampling)
    if chat_request.stream:
        events: EventQueue = asyncio.Queue()
        run = service.start_run(_queue_chunks(graph, chat_request, events))
        return RunResponse(events, run, keep_alive=service.limits.keep_alive)
    answer = await wait_for_run(request, service.start_run(_invoke_graph(graph, chat_request)))
    return JSONResponse(CompletionEnvelope(chat_request.model).wrap_completion(answer))


async def _invoke_graph(graph: CompiledMoAGraph, chat_request: ChatRequest) -> AIMessage:
    try:
        state = await graph.ainvoke({"messages": to_langchain_messages(chat_request.messages)})
    except Exception as error:
        raise to_api_error(error) from error
    return cast("AIMessage", state["messages"][-1])


async def _queue_chunks(
    graph: CompiledMoAGraph, chat_request: ChatRequest, events: EventQueue
) -> None:
    """Run in a task of its own: what cancels a response would disturb a graph that cleans up."""
    try:
        async for chunk in _completion_chunks(graph, chat_request):
            events.put_nowait(to_json(chunk).decode())
        events.put_nowait("[DONE]")
    except asyncio.CancelledError:
        events.put_nowait(to_json(server_stopping_error().body).decode())
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
        events.put_nowait(to_json(to_api_error(error).body).decode())


async def _completion_chunks(
    graph: CompiledMoAGraph, chat_request: ChatRequest
) -> AsyncIterator[JsonObject]:
    """Run a mixture, and give its answer in OpenAI's chunks."""
    envelope = CompletionEnvelope(chat_request.model)
    yield envelope.wrap_chunk({"role": "assistant", "content": ""})
    async for part in _answer_parts(graph, chat_request):
        if isinstance(part, str):
            yield envelope.wrap_chunk({"content": part})
            continue
        yield envelope.wrap_chunk({}, part)
        if chat_request.wants_usage:
            yield envelope.wrap_usage(part)


async def _answer_parts(
    graph: CompiledMoAGraph, chat_request: ChatRequest
) -> AsyncIterator[str | AIMessage]:
    """Give the text of an answer as it comes, and then the whole message.

    Raises:
        ApiError: If the answer broke off when a part of it was sent: what a fallback writes
            could only be appended to it.
    """
    message_id, sent, thought_filter = None, False, ThoughtFilter()
    messages: Any = {"messages": to_langchain_messages(chat_request.messages)}
    run = graph.astream(messages, stream_mode=["messages", "updates"])
    async with aclosing(cast("AsyncGenerator[Any]", run)) as events:
        async for mode, event in events:
            if mode == "updates" and AGGREGATOR in event:
                answer: AIMessage = event[AGGREGATOR]["messages"][-1]
                if rest := thought_filter.finish() if sent else answer.text:
                    yield rest
                yield answer
            elif mode == "messages" and (token := _answer_token(event)):
                if message_id != (message_id := token.id):
                    if sent:
                        raise ApiError(502, "the answer broke off; ask again", code="broken_off")
                    thought_filter = ThoughtFilter()
                if text := thought_filter.feed(token.text):
                    sent = True
                    yield text


def _answer_token(event: tuple[AIMessage, dict[str, Any]]) -> AIMessage | None:
    """Give a piece of the final answer that has text in it."""
    message, metadata = event
    return message if metadata["langgraph_node"] == AGGREGATOR and message.text else None
