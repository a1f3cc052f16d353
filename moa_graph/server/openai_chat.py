"""The endpoint `POST /v1/chat/completions`."""

from starlette.requests import Request
from starlette.responses import Response

from moa_graph.server.answer_plan import plan_answer
from moa_graph.server.answering import answer_request
from moa_graph.server.json_body import read_model_request
from moa_graph.server.openai_chat_format import ChatCompletionFormat
from moa_graph.server.openai_requests import parse_chat_request
from moa_graph.server.service import get_service


async def create_completion(request: Request) -> Response:
    """Answer a conversation."""
    service = get_service(request)
    body = await read_model_request(request, service)
    chat_request = parse_chat_request(body, service.limits.messages, strict=service.api.strict)
    plan = plan_answer(service, chat_request)
    answer_format = ChatCompletionFormat(chat_request, service.api.usage)
    return await answer_request(request, [plan], answer_format, stream=bool(chat_request.stream))
