"""Convert a conversation to messages that every model accepts. Pure functions.

Agents and providers produce messages that other providers reject: late system messages,
provider-specific content blocks, and ids of data on a provider's servers.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)

from moa_graph.prompting.layout import with_added_text

Messages = Sequence[AnyMessage]

_KNOWN_PROVIDERS = {"anthropic", "google_genai", "groq", "mistralai", "ollama", "openai"}

MEDIA_BLOCK_TYPES = {
    "image": "image",
    "image_url": "image",
    "image_generation_call": "image",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "file": "file",
    "media": "file",
    "document": "file",
}
"""Types of content blocks without text, as LangChain and providers name them, and what they
contain."""


def portable_history(messages: Messages, provider: str | None = None) -> Messages:
    """Convert a conversation to a form that the models of all providers accept.

    Args:
        messages: The conversation; it is not changed.
        provider: Provider of the reader, as in `response_metadata["model_provider"]`. An answer
            with tool calls keeps its blocks, which its own provider requires, unless another
            provider reads it.

    Returns:
        The conversation with one leading system message, and with answers as text without ids of
        their provider. The same list if nothing changes.
    """
    portable = [
        _portable_answer(message, provider) if isinstance(message, AIMessage) else message
        for message in messages
    ]
    if any(isinstance(message, SystemMessage) for message in portable[1:]):
        portable = _with_one_system_message(portable)
    is_same = len(portable) == len(messages) and all(map(_is_identical, portable, messages))
    return messages if is_same else portable


def trim_turns(messages: Messages, max_tokens: int, count: Callable[[Messages], int]) -> Messages:
    """Remove the oldest turns; the last turn and system messages stay.

    Args:
        messages: The conversation; it is not changed.
        max_tokens: Maximum number of tokens.
        count: Counts the tokens of messages.

    Returns:
        The conversation; the same list if nothing is removed.
    """
    if count(messages) <= max_tokens:
        return messages
    remaining = trim_messages(
        list(messages),
        max_tokens=max_tokens,
        token_counter=lambda counted: count(cast("Any", counted)),
        strategy="last",
        start_on="human",
        include_system=True,
    )
    if any(isinstance(each, HumanMessage) for each in remaining):
        return cast("Messages", remaining)
    last = max((n for n, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
    return [m for n, m in enumerate(messages) if n >= last or isinstance(m, SystemMessage)]


def has_tool_traffic(messages: Messages) -> bool:
    """Return whether tools were called in a conversation."""
    return any(
        isinstance(message, ToolMessage)
        or (isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls))
        for message in messages
    )


def has_media(message: AIMessage) -> bool:
    """Return whether an answer contains blocks other than text."""
    return bool(_media_in(message) or message.additional_kwargs.get("audio"))


def _is_identical(first: AnyMessage, second: AnyMessage) -> bool:
    return first is second


def _portable_answer(message: AIMessage, provider: str | None) -> AnyMessage:
    metadata = {k: v for k, v in message.response_metadata.items() if k != "id"}
    if message.tool_calls and not _is_foreign(metadata.get("model_provider"), provider):
        own_id = "id" in message.response_metadata
        return message.model_copy(update={"response_metadata": metadata}) if own_id else message
    is_plain = isinstance(message.content, str) and not message.additional_kwargs
    if is_plain and "id" not in message.response_metadata:
        return message
    notes = [f"[{kind}]" for kind in _media_in(message)]
    text = "\n\n".join(filter(None, [message.text, *notes]))
    update = {"content": text, "additional_kwargs": {}, "response_metadata": metadata}
    return message.model_copy(update=update)


def _is_foreign(writer: str | None, reader: str | None) -> bool:
    """Return whether a message is known to come from another provider than the reader's."""
    return writer != reader and {writer, reader} <= _KNOWN_PROVIDERS


def _media_in(message: AIMessage) -> list[str]:
    """Describe the blocks of an answer that are not text."""
    blocks = message.content if isinstance(message.content, list) else ()
    types = [block.get("type", "") for block in blocks if isinstance(block, dict)]
    return [MEDIA_BLOCK_TYPES[each] for each in types if each in MEDIA_BLOCK_TYPES]


def _with_one_system_message(messages: Messages) -> list[AnyMessage]:
    first, *later = (message for message in messages if isinstance(message, SystemMessage))
    whole: Any = first
    for message in later:
        whole = with_added_text(whole, message.text)
    return [whole, *(message for message in messages if not isinstance(message, SystemMessage))]
