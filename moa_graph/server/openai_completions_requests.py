"""The request body of `POST /v1/completions`, and its translation to `ChatRequest`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from moa_graph.server.errors import ApiError
from moa_graph.server.openai_request_messages import RequestMessage
from moa_graph.server.openai_requests import (
    MAX_ANSWERS,
    ChatRequest,
    Stop,
    StreamOptions,
    as_list,
)
from moa_graph.server.request_checks import (
    check_object,
    ineffective_parameters,
    refuse_parameters,
    validate_request,
)

UNSUPPORTED_PARAMETERS: Mapping[str, Sequence[Any]] = {
    "logit_bias": ({},),
    "suffix": ("",),
}
"""Unsupported parameters that would change the answer, with the values that do not."""

PARAMETER_NAMES = {"messages": "prompt"}
"""Names of `ChatRequest` parameters in this dialect, if they differ."""


class CompletionRequest(BaseModel):
    """A request for answers to one or several prompts."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, hide_input_in_errors=True
    )

    model: str = Field(min_length=1, max_length=200)
    prompt: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Field(min_length=1, max_length=MAX_ANSWERS, fail_fast=True),
        BeforeValidator(as_list),
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=MAX_ANSWERS)
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: Stop = None
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    top_k: int | None = Field(default=None, ge=-1)

    @field_validator("n")
    @classmethod
    def _check_count(cls, value: int | None, info: ValidationInfo) -> int | None:
        if (value or 1) * len(info.data.get("prompt", ())) > MAX_ANSWERS:
            raise ValueError(f"expected at most {MAX_ANSWERS} answers in all, to all prompts")
        return value

    @field_validator("logprobs")
    @classmethod
    def _check_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("echo"):
            raise ValueError("not supported with `echo`: providers return none for prompts")
        return value

    @field_validator("best_of")
    @classmethod
    def _check_best_of(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value != (info.data.get("n") or 1):
            raise ValueError("expected the same number as `n`; others are not supported")
        return value

    def ineffective_parameters(self) -> Iterator[str]:
        """Names of parameters that are unknown or have no effect."""
        named = ineffective_parameters(self.model_extra)
        return (name for name in named if name not in UNSUPPORTED_PARAMETERS)

    def to_chat_requests(self) -> list[ChatRequest]:
        """Convert each prompt to a chat request with a user message."""
        accepted = ChatRequest.model_fields.keys()
        values = self.model_dump(include=set(accepted) - {"logprobs"}, exclude_none=True)
        if self.logprobs is not None:
            values |= {"logprobs": True, "top_logprobs": self.logprobs or None}
        return [
            ChatRequest(messages=[RequestMessage(role="user", content=prompt)], **values)
            for prompt in self.prompt
        ]


def parse_completion_request(data: Any, *, strict: bool = False) -> CompletionRequest:
    """Validate a request.

    Args:
        data: The body.
        strict: Whether to reject unknown parameters.

    Raises:
        ApiError: If a field is missing, has the wrong type, or is not supported; `param` names it.
    """
    check_object(data)
    refuse_parameters(data, CompletionRequest, UNSUPPORTED_PARAMETERS, strict=strict)
    prompt = data.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], (int, list)):
        message = "prompt: expected texts, got tokens; each model of a mixture has its own"
        raise ApiError(400, message, param="prompt", code="unsupported_parameter")
    return validate_request(CompletionRequest, data)
