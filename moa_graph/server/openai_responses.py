"""The endpoint `POST /v1/responses`, without stored responses."""

from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from moa_graph.server.answer_plan import plan_answer
from moa_graph.server.answering import answer_request
from moa_graph.server.errors import ApiError
from moa_graph.server.json_body import read_model_request
from moa_graph.server.openai_responses_format import ResponsesFormat
from moa_graph.server.openai_responses_requests import PARAMETER_NAMES, parse_responses_request
from moa_graph.server.proposal_scope import read_proposal_scope
from moa_graph.server.service import get_service


async def create_response(request: Request) -> Response:
    """Answer an input."""
    service = get_service(request)
    owner = read_proposal_scope(request)
    body = await read_model_request(request, service)
    body = service.response_items.resolve_references(owner, body, service.limits.messages)
    asked, chat_request = parse_responses_request(
        body, service.limits.messages, strict=service.api.strict
    )
    plan = plan_answer(service, chat_request, PARAMETER_NAMES)
    plan = replace(plan, ineffective=[*asked.ineffective_parameters(), *plan.ineffective])
    keep = partial(service.response_items.keep, owner) if asked.store is not False else None
    answer_format = ResponsesFormat(asked, service.api.usage, keep)
    return await answer_request(request, [plan], answer_format, stream=bool(asked.stream))


async def refuse_stored(request: Request) -> Response:
    """Reject a request for a stored response."""
    message = (
        f"{request.method} {request.url.path[:100]}: this server stores no responses; expected "
        "POST /v1/responses with the whole conversation as its `input`"
    )
    raise ApiError(404, message, code="not_stored")
