"""Checks of requests before a run: length and unsupported parameters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from moa_graph.server.errors import ApiError
from moa_graph.server.json_body import (
    MAX_VALUE_CHARS,
    explain_validation_error,
    format_value,
)

ModelT = TypeVar("ModelT", bound=BaseModel)

IGNORED_PARAMETERS: Mapping[str, Sequence[Any]] = {
    "metadata": ({},),
    "prediction": (),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "safety_identifier": (),
    "seed": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "user": (),
}
"""Parameters without effect that do not change the meaning of an answer. The values are not
reported to the client."""


class RequestPart(BaseModel):
    """Base class of parts of a request; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


def check_object(data: Any) -> None:
    """Check that a body is an object.

    Raises:
        ApiError: If it is not.
    """
    if not isinstance(data, dict):
        raise ApiError(400, f"the body: expected an object, got {type(data).__name__}")


def validate_request(model: type[ModelT], data: Any) -> ModelT:
    """Validate a body with a model.

    Raises:
        ApiError: If a field is missing or has the wrong type; `param` names it.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain_validation_error(error, data) from None


def check_length(data: Mapping[str, Any], name: str, limit: int) -> None:
    """Reject a conversation that is too long, before it is validated.

    Raises:
        ApiError: If the list with this name has more items than the limit.
    """
    items = data.get(name)
    if isinstance(items, list) and len(items) > limit:
        message = f"{name}: got {len(items):,}; expected at most {limit:,}"
        raise ApiError(400, message, param=name, code="too_many_messages")


def refuse_parameters(
    data: Mapping[str, Any],
    model: type[BaseModel],
    unsupported: Mapping[str, Sequence[Any]],
    *,
    strict: bool,
) -> None:
    """Reject unsupported parameters that change the answer; with `strict`, also unknown ones.

    Args:
        data: The body of a request.
        model: The model with the supported parameters.
        unsupported: Unsupported parameters, with the values that change nothing.
        strict: Whether to reject unknown parameters.

    Raises:
        ApiError: If there is one; `param` names it.
    """
    for name, value in data.items():
        if name in unsupported:
            harmless = unsupported[name]
            if value is not None and value not in harmless:
                only = f"; it may be {' or '.join(map(format_value, harmless))}" if harmless else ""
                message = f"{name}: not supported by this server{only}; got {format_value(value)}"
                raise ApiError(400, message, param=name, code="unsupported_parameter")
        elif strict and name not in model.model_fields and name not in IGNORED_PARAMETERS:
            name = name[:MAX_VALUE_CHARS]  # noqa: PLW2901
            message = f"{name!r} is not a parameter of this server"
            raise ApiError(400, message, param=name, code="unknown_parameter")


def ineffective_parameters(extra: Mapping[str, Any] | None) -> Iterator[str]:
    """Return the unsupported parameters of a model that have no effect."""
    for name, value in (extra or {}).items():
        if value is not None and value not in IGNORED_PARAMETERS.get(name, ()):
            yield name
