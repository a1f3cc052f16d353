"""`POST /v1/chat/completions`: run a mixture, and give its answer whole or as it comes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from langchain_core.messages import AIMessage, AIMessageChunk
from openai.types.chat import ChatCompletionChunk
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from moa_graph.graph.run_summary import read_run_summary
from moa_graph.server.answer_plan import AnswerPlan, plan_answer
from moa_graph.server.errors import server_stopping_error, to_api_error
from moa_graph.server.json_body import read_json_body
from moa_graph.server.openai_answers import ChunkTranslator, CompletionEnvelope
from moa_graph.server.openai_requests import ChatRequest, parse_chat_request
from moa_graph.server.proposal_scope import scope_to_key
from moa_graph.server.responses import EventQueue, RunResponse, wait_for_run
from moa_graph.server.service import MixtureService, get_service

IGNORED_HEADER = "x-moa-ignored-parameters"

_MAX_NAME_CHARS = 64  # characters of a parameter's name that are repeated
_MAX_NAMES = 32  # parameters that a header names


async def create_completion(request: Request) -> Response:
    """Answer a conversation."""
    service = get_service(request)
    body = await read_json_body(request, service.limits)
    chat_request = parse_chat_request(body, service.limits.messages, strict=service.api.strict)
    plan = replace(plan_answer(service, chat_request), config=scope_to_key(request))
    headers = _name_ineffective_parameters(service, plan.ineffective)
    envelope = CompletionEnvelope(chat_request.model, service.api.usage)
    if chat_request.stream:
        events: EventQueue = asyncio.Queue()
        run = service.start_run(_queue_chunks(plan, chat_request, envelope, events))
        return RunResponse(events, run, keep_alive=service.limits.keep_alive, headers=headers)
    answer = await wait_for_run(request, service.start_run(_invoke_model(plan)))
    completion = envelope.wrap_completion(answer).model_dump_json(exclude_unset=True)
    return Response(completion, media_type="application/json", headers=headers)


def _name_ineffective_parameters(service: MixtureService, names: Iterable[str]) -> dict[str, str]:
    """Name in the log, and in a header, what has no effect; it is a client's text."""
    printable = [_to_printable(name) for name in names][:_MAX_NAMES]
    service.note_ineffective_parameters(printable)
    return {IGNORED_HEADER: ", ".join(printable)} if printable else {}


def _to_printable(name: str) -> str:
    shown = name[:_MAX_NAME_CHARS]
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "?" for c in shown)


async def _invoke_model(plan: AnswerPlan) -> AIMessage:
    try:
        return await plan.chat_model.ainvoke(plan.messages, plan.config, **plan.options)
    except Exception as error:
        raise to_api_error(error) from error


async def _queue_chunks(
    plan: AnswerPlan, chat_request: ChatRequest, envelope: CompletionEnvelope, events: EventQueue
) -> None:
    """Run in a task of its own: what cancels a response would disturb a graph that cleans up."""
    try:
        async for chunk in _completion_chunks(plan, chat_request, envelope):
            events.put_nowait(chunk.model_dump_json(exclude_unset=True))
        events.put_nowait("[DONE]")
    except asyncio.CancelledError:
        events.put_nowait(to_json(server_stopping_error().body).decode())
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
        events.put_nowait(to_json(to_api_error(error).body).decode())


async def _completion_chunks(
    plan: AnswerPlan, chat_request: ChatRequest, envelope: CompletionEnvelope
) -> AsyncIterator[ChatCompletionChunk]:
    """Run a mixture, and give its answer in OpenAI's chunks."""
    translator = ChunkTranslator(envelope)
    yield translator.start()
    stream = plan.chat_model.astream(plan.messages, plan.config, **plan.options)
    async with aclosing(cast("AsyncGenerator[AIMessageChunk]", stream)) as chunks:
        async for chunk in chunks:
            for translated in translator.translate(chunk):
                yield translated
            if chat_request.wants_usage and read_run_summary(chunk):
                yield envelope.wrap_usage(chunk)
