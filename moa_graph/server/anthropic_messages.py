"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's dialect."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.server.answer_plan import plan_answer
from moa_graph.server.answering import answer_request
from moa_graph.server.anthropic_answers import PING, MessageFormat
from moa_graph.server.anthropic_requests import (
    ConversationRequest,
    MessageRequest,
    parse_conversation,
)
from moa_graph.server.anthropic_translation import (
    to_chat_messages,
    to_chat_request,
    to_chat_tools,
)
from moa_graph.server.errors import REQUEST_ID
from moa_graph.server.json_body import read_model_request
from moa_graph.server.openai_messages import to_langchain_messages
from moa_graph.server.service import MixtureService, get_service

_NAMES: Mapping[str, str] = {
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
}
"""Anthropic's names of parameters that differ from OpenAI's."""


async def create_message(request: Request) -> Response:
    """Answer a conversation."""
    service = get_service(request)
    body = await read_model_request(request, service)
    max_messages, strict = service.limits.messages, service.api.strict
    message_request = parse_conversation(MessageRequest, body, max_messages, strict=strict)
    plan = plan_answer(service, to_chat_request(message_request), _NAMES)
    plan = replace(plan, ineffective=[*message_request.ineffective_parameters(), *plan.ineffective])
    request_id = request.scope.get(REQUEST_ID)
    answer_format = MessageFormat(message_request.model, service.api.usage, request_id)
    stream = bool(message_request.stream)
    return await answer_request(request, [plan], answer_format, stream=stream, ping=PING)


async def count_tokens(request: Request) -> Response:
    """Estimate the tokens of a conversation and its tools, as a proposer reads them."""
    service = get_service(request)
    body = await read_model_request(request, service)
    conversation = parse_conversation(ConversationRequest, body, service.limits.messages)
    service.get_mixture(conversation.model)
    return JSONResponse(
        {"input_tokens": await run_in_threadpool(_count_tokens, service, conversation)}
    )


def _count_tokens(service: MixtureService, conversation: ConversationRequest) -> int:
    messages = to_langchain_messages(to_chat_messages(conversation))
    tools = [tool.model_dump(exclude_unset=True) for tool in to_chat_tools(conversation)]
    return service.get_model(conversation.model).chat_model.get_num_tokens_from_messages(
        messages, tools
    )
