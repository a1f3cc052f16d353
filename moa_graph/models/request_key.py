"""The key of a model call wherever answers are stored, reused or planned."""

import json
from hashlib import sha256
from typing import Any

from langchain_core.messages import BaseMessage

from moa_graph.prompting.layout import REFERENCE_KEYS_METADATA


def request_key(target: Any, prompt: Any, sample: int = 0) -> str:
    """Hash everything that shapes the answer of a call: equal requests have equal keys.

    The random key in the tags around references (layout `user`) is excluded. It is taken from the
    metadata of its message and not searched for, so a tag that a user wrote counts.

    Args:
        target: Model, parameters and endpoint as plain values.
        prompt: Messages, or plain values that represent them.
        sample: Number of the sample, if the same request is sent several times.

    Returns:
        A hexadecimal digest.

    Raises:
        TypeError: If a value cannot be encoded as JSON.
        RecursionError: If a value is nested too deeply.
    """
    text = json.dumps([target, prompt, sample], sort_keys=True, default=_message_to_plain)
    return sha256(text.encode()).hexdigest()


def describe_message(message: BaseMessage) -> dict[str, Any]:
    """Return the parts of a message that a model reads, without id and metadata."""
    fields: dict[str, Any] = {
        "type": message.type,
        "content": message.content,
        "name": message.name,
    }
    fields |= {name: getattr(message, name, None) for name in ("tool_calls", "tool_call_id")}
    fields["more"] = {k: v for k, v in message.additional_kwargs.items() if v is not None}
    return {name: value for name, value in fields.items() if value}


def reference_keys(message: BaseMessage) -> list[str]:
    """Return the random keys of the tags in a message."""
    return list(message.response_metadata.get(REFERENCE_KEYS_METADATA) or ())


def _message_to_plain(value: Any) -> Any:
    """Convert a message for JSON, without the random keys of its references."""
    if not isinstance(value, BaseMessage):
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    fields = describe_message(value)
    if keys := reference_keys(value):
        content = json.dumps(value.content, sort_keys=True)
        for number, key in enumerate(keys):
            content = content.replace(key, f"key {number}")
        fields |= {"content": content, "reference_keys": len(keys)}
    return fields
