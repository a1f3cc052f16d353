"""What a provider says when it refuses a prompt, read from its error. Pure functions."""

import re
from typing import Any, Literal

MessageRoles = Literal["alternating", "no_system"]
"""Which messages a model takes, where it does not take all: user and assistant in turns, behind one
system message at most; or these without any system message."""

_MAX_ERROR_CHARS = 4000  # characters of an error that are read

# Said by chat templates (Gemma, Mistral, Llama 2, Qwen), by LangChain's packages, and by the
# interfaces of Anthropic, Bedrock, DeepSeek, Google, Mistral, OpenAI and Perplexity.
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
_UNRELATED_STATUSES = {401, 402, 403, 404, 408, 429, 502, 503, 504}


def read_message_roles(error: BaseException) -> MessageRoles | None:
    """Read from a refusal which messages a model takes.

    Args:
        error: What the call of a model raised.

    Returns:
        The roles to ask with instead; `None` if the error says nothing of roles.
    """
    if read_status(error) in _UNRELATED_STATUSES:
        return None
    text = str(error)[:_MAX_ERROR_CHARS]
    if _NO_SYSTEM.search(text):
        return "no_system"
    return "alternating" if _ALTERNATING.search(text) else None


def read_status(error: Any) -> int | None:
    """Read the HTTP status of an error, under whichever name its client puts it."""
    for name in ("status_code", "code"):
        if isinstance(value := getattr(error, name, None), int):
            return int(value)
    return None
