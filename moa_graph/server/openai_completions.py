"""The endpoint `POST /v1/completions`: each prompt is a user message."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from moa_graph.server.answer_plan import plan_answer
from moa_graph.server.answering import answer_request
from moa_graph.server.json_body import read_model_request
from moa_graph.server.openai_completions_format import CompletionFormat
from moa_graph.server.openai_completions_requests import (
    PARAMETER_NAMES,
    parse_completion_request,
)
from moa_graph.server.service import get_service


async def create_completion(request: Request) -> Response:
    """Answer prompts."""
    service = get_service(request)
    body = await read_model_request(request, service)
    asked = parse_completion_request(body, strict=service.api.strict)
    ignored = list(asked.ineffective_parameters())
    plans = [plan_answer(service, each, PARAMETER_NAMES) for each in asked.to_chat_requests()]
    plans = [replace(each, ineffective=[*ignored, *each.ineffective]) for each in plans]
    answer_format = CompletionFormat(asked, service.api.usage)
    return await answer_request(request, plans, answer_format, stream=bool(asked.stream))
