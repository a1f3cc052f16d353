"""Parse errors of providers that reject a prompt. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

MessageRoles = Literal["alternating", "no_system"]
"""Restricted message roles of a model: alternating user and assistant messages after at most one
system message, or the same without a system message."""

_MAX_ERROR_CHARS = 4000  # characters of an error to search

# Errors of chat templates (Gemma, Mistral, Llama 2, Qwen), of LangChain's packages, and of the
# APIs of Anthropic, Bedrock, DeepSeek, Google, Mistral, OpenAI and Perplexity.
_NO_SYSTEM = re.compile(
    r"(?:system|developer) (?:role|message|instruction|prompt)s?"
    r"(?: is| are)?(?: not|n't)(?: yet)? (?:supported|enabled|allowed)"
    r"|not support (?:the )?['\"`]?(?:system|developer)|n't support (?:the )?['\"`]?system"
    r"|only user and (?:assistant|model) roles are supported"
    r"|systemmessages are not yet supported",
    re.IGNORECASE,
)
_ALTERNATING = re.compile(
    r"\broles? (?:must|should|to) (?:be )?alternat|(?:must|should) (?:be )?alternat"
    r"|requests? alternate between|roles? (?:should|must) be alternating"
    r"|messages? (?:should|must) alternate|successive (?:user|assistant)"
    r"|roles? in a row|consecutive (?:user|assistant|messages)"
    r"|(?:must|should) (?:start|begin|end)s? with (?:an? |the )?['\"`]?user"
    r"|first message must|last message (?:must|should)|expected last role|unexpected role"
    r"|system message must be|non-consecutive system|(?:multiple|one|single) system message",
    re.IGNORECASE,
)
_NUMBER = r"(\d[\d,]{0,15})"
# Errors of llama.cpp, vLLM, SGLang, TGI and LM Studio, and of the APIs of Anthropic, Bedrock,
# Cohere, DeepSeek, Google, Groq, Mistral, OpenAI, Together and xAI.
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|exceeds? the available context size"
    r"|maximum (?:context|model|prompt) length|context window|contextwindowexceeded"
    r"|exceeds? (?:the )?(?:model's )?(?:maximum )?context|longer than the (?:model's )?"
    r"(?:context|maximum model) length|(?:prompt|input) is too long"
    r"|exceeds? the maximum number of tokens|input tokens exceed|too large for model with"
    r"|`inputs` tokens \+ `max_new_tokens` must be|too many tokens: total"
    r"|reduce the length of the messages|when context the overflows",
    re.IGNORECASE,
)
_CONTEXT_SIZES = (
    rf"context (?:size|length|limit|window)s?(?: is| of)?(?: only)? ?\(?{_NUMBER}",
    rf"(?:model|prompt) length(?: is| of)? {_NUMBER}",
    rf"number of tokens allowed \({_NUMBER}",
    rf"> ?{_NUMBER}",
    rf"must be <= ?{_NUMBER}",
    rf"cannot exceed {_NUMBER}",
    rf"for model with {_NUMBER}",
    rf"configured limit of {_NUMBER}",
)
_PROMPT_SIZES = (
    rf"\({_NUMBER} in the (?:messages|prompt)",
    rf"(?:request|input|prompt) \({_NUMBER} tokens\)",
    rf"(?:contains|has|from)(?: at least)? {_NUMBER}(?: input)? tokens",
    rf"{_NUMBER} tokens from the input",
    rf"resulted in {_NUMBER}",
    rf"too long: {_NUMBER}",
    rf"token count \({_NUMBER}",
    rf"\(length {_NUMBER}",
    rf"limit: {_NUMBER} \+",
    rf"given: {_NUMBER} `inputs`",
    rf"received {_NUMBER}",
    rf"first {_NUMBER} tokens",
)
_ANSWER_SIZES = (
    rf"{_NUMBER} in the completion",
    rf"requested {_NUMBER} output tokens",
    rf"\+ {_NUMBER} >",
    rf"and {_NUMBER} `max_new_tokens`",
    rf"{_NUMBER} tokens for the completion",
)
# Errors of llama.cpp, vLLM, Ollama, and of the APIs of Groq, Mistral, OpenAI and OpenRouter.
_NO_IMAGES = re.compile(
    r"images? inputs? (?:is|are) not supported|support images? input"
    r"|image_url is only supported|not support (?:image|vision|multimodal)"
    r"|not a multimodal model|unknown part type: image_url|at most 0 image",
    re.IGNORECASE,
)
_IMAGE_REMEDY = (
    "the model takes no images: ask a model that does (on llama.cpp, a server with --mmproj), or "
    "leave them out"
)
# Errors of llama.cpp and vLLM, and of the APIs of DeepSeek, Groq, Mistral and OpenAI.
_CHOICES = re.compile(r"(?<![\w\\])n(?!\w)|number of choices")
_ONLY_ONE_CHOICE = re.compile(r"only one (?:completion )?choice|unexpected keyword argument 'n'")
_CHOICE_LIMITS = (
    rf"<= ?{_NUMBER}",
    rf"at most {_NUMBER}",
    rf"(?:less than or equal to|between \d+ and|up to|maximum(?: value)? (?:is|of)) {_NUMBER}",
)
_REFUSED_REQUEST = {400, 422}
_UNRELATED_STATUSES = {401, 402, 403, 404, 408, 429, 502, 503, 504}


def read_message_roles(error: BaseException) -> MessageRoles | None:
    """Return the message roles that a model accepts, from its refusal.

    Args:
        error: Error of a model call.

    Returns:
        The roles for another call; `None` if the error is not about roles.
    """
    if read_status(error) in _UNRELATED_STATUSES:
        return None
    text = str(error)[:_MAX_ERROR_CHARS]
    if _NO_SYSTEM.search(text):
        return "no_system"
    return "alternating" if _ALTERNATING.search(text) else None


def describe_remedy(error: BaseException) -> str | None:
    """Describe the remedy for rejected content of a prompt; `None` for other errors."""
    return _IMAGE_REMEDY if _NO_IMAGES.search(str(error)[:_MAX_ERROR_CHARS]) else None


class ContextOverflow(NamedTuple):
    """A prompt that exceeds the context of a model, with the sizes in the provider's error."""

    prompt_tokens: int | None
    """Tokens of the prompt."""
    context_tokens: int | None
    """Context length of the model in tokens."""
    answer_tokens: int | None
    """Tokens reserved for the answer, if they count."""


def read_context_overflow(error: BaseException) -> ContextOverflow | None:
    """Return the size of a rejected prompt and the context length.

    Args:
        error: Error of a model call.

    Returns:
        The sizes; `None` if the error does not say that the prompt is too long.
    """
    from langchain_core.exceptions import ContextOverflowError

    text = str(error)[:_MAX_ERROR_CHARS]
    is_refusal = read_status(error) not in _UNRELATED_STATUSES and _OVERFLOW.search(text)
    if not is_refusal and not isinstance(error, ContextOverflowError):
        return None
    body = getattr(error, "body", None)
    fields = body.get("error", body) if isinstance(body, Mapping) else {}
    return ContextOverflow(
        _read_field(fields, "n_prompt_tokens") or _find_number(_PROMPT_SIZES, text),
        _read_field(fields, "n_ctx") or _find_number(_CONTEXT_SIZES, text),
        _find_number(_ANSWER_SIZES, text),
    )


def read_choice_limit(error: BaseException, requested: int) -> int | None:
    """Return the maximum number of choices, from a refusal.

    Args:
        error: Error of a call for several choices.
        requested: Number of requested choices.

    Returns:
        The maximum; `None` if the error is not about the number of choices.
    """
    text = str(error)[:_MAX_ERROR_CHARS]
    if _ONLY_ONE_CHOICE.search(text.lower()):
        return 1
    if read_status(error) not in _REFUSED_REQUEST or not _CHOICES.search(text) or "greedy" in text:
        return None  # temperature 0 is a matter of the agent, not of its model
    limit = _find_number(_CHOICE_LIMITS, text)
    return limit if limit and limit < requested else 1


def is_unclear_refusal(error: BaseException) -> bool:
    """Return whether a request was rejected as invalid for a reason other than its messages."""
    is_of_messages = read_context_overflow(error) or read_message_roles(error)
    return read_status(error) in _REFUSED_REQUEST and not is_of_messages


def _read_field(fields: Any, name: str) -> int | None:
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return value if isinstance(value, int) and value > 0 else None


def _find_number(patterns: Sequence[str], text: str) -> int | None:
    for pattern in patterns:
        if match := re.search(pattern, text, re.IGNORECASE):
            return int(match[1].replace(",", "")) or None
    return None


def read_status(error: Any) -> int | None:
    """Return the HTTP status of an error, under any attribute that clients use."""
    for name in ("status_code", "code"):
        if isinstance(value := getattr(error, name, None), int):
            return int(value)
    return None
