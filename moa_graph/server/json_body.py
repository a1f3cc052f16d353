"""Parse the JSON body of a request within limits, and locate errors in it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.requests import Request

from moa_graph.json_size import count_json_items
from moa_graph.server.errors import ApiError
from moa_graph.server.request_record import note_model
from moa_graph.server.service import MixtureService, ServerLimits
from moa_graph.validation_errors import describe_expected

MAX_VALUE_CHARS = 100
"""Characters of a value in an error."""

_LIST_DESCRIPTIONS = {"messages": "a list of messages", "stop": "a string or a list of strings"}


async def read_json_body(request: Request, limits: ServerLimits) -> Any:
    """Read and parse the body of a request.

    Args:
        request: The request.
        limits: Limits of its bytes, items and seconds.

    Raises:
        ApiError: If it exceeds a limit, or is not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        message = f"expected 'Content-Type: application/json', got {kind!r}"
        raise ApiError(415, message, code="unsupported_content_type")
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read_body(request, limits.body)
    except TimeoutError:
        message = f"the body did not come within {limits.body_seconds:g} s"
        close = {"connection": "close"}
        raise ApiError(408, message, code="request_timeout", headers=close) from None
    return parse_json_body(body, limits)


async def read_model_request(request: Request, service: MixtureService) -> Any:
    """Read the body of a request for an answer; its log line names the mixture in any case.

    Raises:
        ApiError: As `read_json_body`.
    """
    body = await read_json_body(request, service.limits)
    model = body.get("model") if isinstance(body, dict) else None
    if isinstance(model, str) and model in service.mixtures:
        note_model(model)
    return body


def parse_json_body(body: bytes, limits: ServerLimits) -> Any:
    """Parse JSON.

    Raises:
        ApiError: If it has too many items, or is invalid.
    """
    _check_item_count(body, limits.body_items)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_json") from None


async def _read_body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    declared = request.headers.get("content-length", "0")
    async for part in request.stream():
        body += part
        if max(len(body), int(declared)) > max_bytes:
            raise ApiError(
                413, f"the body has more than {max_bytes:,} bytes", code="body_too_large"
            )
    return bytes(body)


def _check_item_count(body: bytes, limit: int) -> None:
    """Reject a body whose objects would need a hundred times its size in memory."""
    if (count := count_json_items(body, limit)) > limit:
        raise too_many_items_error("the body", count, limit)


def too_many_items_error(what: str, count: int, limit: int) -> ApiError:
    """Return the error for JSON whose objects would need too much memory."""
    message = f"{what}: got about {count:,} items in lists and objects; expected at most {limit:,}"
    return ApiError(413, message, code="too_many_items")


def explain_validation_error(error: ValidationError, data: Any) -> ApiError:
    """Describe the first error: its location, the value and the accepted values."""
    first = error.errors(include_url=False)[0]
    location = _format_location(first["loc"], data)
    got = f", got {format_value(first['input'])}"
    match first["type"]:
        case "missing" | "union_tag_not_found":
            message = "required, but missing"
        case "too_short":
            message = "empty; expected at least one"
        case "model_type" | "model_attributes_type" | "dict_type":
            message = f"expected an object{got}"
        case "list_type":
            message = f"expected {_LIST_DESCRIPTIONS.get(location, 'a list')}{got}"
        case "union_tag_invalid":
            context = first["ctx"]
            message = (
                f"expected {context['expected_tags']}, got {context['tag'][:MAX_VALUE_CHARS]!r}"
            )
        case "value_error":
            message = first["msg"].removeprefix("Value error, ")
        case _:
            message = describe_expected(first["msg"]) + got
    if location.endswith(".content") and first["type"] == "string_type":
        message = f"expected a string or a list of parts{got}"
    return ApiError(400, f"{location}: {message}", param=location)


def _format_location(loc: Sequence[int | str], data: Any) -> str:
    """Return the location of an error in the body.

    It omits the names of union members and list indexes that pydantic adds.
    """
    location = ""
    for index, part in enumerate(loc):
        if isinstance(part, int) and isinstance(data, list):
            location, data = f"{location}[{part}]", data[part]
        elif isinstance(data, dict) and (part in data or index == len(loc) - 1):
            location, data = f"{location}.{part}", data.get(part)
    return location.removeprefix(".")


def format_value(value: Any) -> str:
    """Return a received value, or an empty text if it is long."""
    text = to_json(value).decode()
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"
