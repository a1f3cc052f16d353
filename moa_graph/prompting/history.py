"""A conversation as any model takes it, whoever wrote its messages. Pure functions of messages.

Agents and providers leave messages behind that others refuse: system messages that come late,
blocks of one provider alone, and ids of what it keeps on its servers.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, SystemMessage, ToolMessage

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
"""The types of the blocks that hold something other than text, in the words of LangChain and of
providers, and what they hold."""


def portable_history(messages: Messages, provider: str | None = None) -> Messages:
    """Put a conversation into a form that models of all providers take.

    Args:
        messages: The conversation; left as it is.
        provider: Who reads it, as in `response_metadata["model_provider"]`. An answer that calls
            tools keeps its blocks, which its provider wants back, unless another is to read it.

    Returns:
        The conversation with all system messages as one in front, and answers as text without the
        ids by which their provider keeps them. The same list, where it is so already.
    """
    portable = [
        _portable_answer(message, provider) if isinstance(message, AIMessage) else message
        for message in messages
    ]
    if any(isinstance(message, SystemMessage) for message in portable[1:]):
        portable = _with_one_system_message(portable)
    is_same = len(portable) == len(messages) and all(map(_is_identical, portable, messages))
    return messages if is_same else portable


def has_tool_traffic(messages: Messages) -> bool:
    """Tell whether tools were called in a conversation."""
    return any(
        isinstance(message, ToolMessage)
        or (isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls))
        for message in messages
    )


def has_media(message: AIMessage) -> bool:
    """Tell whether an answer holds something other than text."""
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
    """Tell whether it is known that one provider wrote what another reads."""
    return writer != reader and {writer, reader} <= _KNOWN_PROVIDERS


def _media_in(message: AIMessage) -> list[str]:
    """Say what the blocks of an answer hold that are no text."""
    blocks = message.content if isinstance(message.content, list) else ()
    types = [block.get("type", "") for block in blocks if isinstance(block, dict)]
    return [MEDIA_BLOCK_TYPES[each] for each in types if each in MEDIA_BLOCK_TYPES]


def _with_one_system_message(messages: Messages) -> list[AnyMessage]:
    first, *later = (message for message in messages if isinstance(message, SystemMessage))
    whole: Any = first
    for message in later:
        whole = with_added_text(whole, message.text)
    return [whole, *(message for message in messages if not isinstance(message, SystemMessage))]
