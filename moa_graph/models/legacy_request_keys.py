"""Request keys of moa_graph 0.1. Delete this module in 0.3.

Both kinds of keys were computed without tags of 16 hexadecimal digits anywhere in the request.
Requests that differ only in such a tag had the same key. In these ambiguous cases this module
returns no key, and the request is sent again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from langchain_core.messages import BaseMessage

from moa_graph.models.request_key import describe_message, reference_keys
from moa_graph.prompting.layout import PromptLayout

_CALL_STORE_TAG = re.compile(r"(</?response-)[0-9a-f]{16}(?= \d+>)")
_AMBIGUOUS_IN_CALL_STORE = re.compile(r"</?response-(?:[0-9a-f]{16})? \d+>")
_NODE_CACHE_TAG = re.compile(r"<response-([0-9a-f]{16}) 1>")
_AMBIGUOUS_IN_NODE_CACHE = re.compile(r"<response-(?:[0-9a-f]{16}|key) 1>")


def legacy_call_store_key(
    label: str,
    options: Mapping[str, Any],
    call_options: Mapping[str, Any],
    messages: Sequence[BaseMessage],
    sample: int,
) -> str | None:
    """Return the key of a call in a call store of 0.1, or `None` if it was ambiguous."""
    names = ("type", "content", "name", "tool_calls", "tool_call_id")
    described = [{name: getattr(each, name, None) or None for name in names} for each in messages]
    text = json.dumps([label, options, call_options, described, sample], sort_keys=True)
    if _AMBIGUOUS_IN_CALL_STORE.search(_without_keys(text, messages)):
        return None
    return _hash_text(_CALL_STORE_TAG.sub(r"\1", text))


def legacy_node_cache_key(
    layout: PromptLayout, identity: str, sample_number: int, messages: Sequence[BaseMessage]
) -> str | None:
    """Return the key of a call in a node cache of 0.1, or `None` if it was ambiguous."""
    described = [describe_message(each) for each in messages]
    text = json.dumps([1, identity, sample_number, described], sort_keys=True)
    if layout.references_in == "user":
        own_keys = [key for each in messages for key in reference_keys(each)]
        if not own_keys and _AMBIGUOUS_IN_NODE_CACHE.search(text):
            return None
        if tag_keys := _NODE_CACHE_TAG.findall(text):  # a forged tag comes before it
            text = text.replace(tag_keys[-1], "key")
    return _hash_text(text)


def _without_keys(text: str, messages: Sequence[BaseMessage]) -> str:
    """Remove the tags with the keys of the layout; tags that a user wrote stay."""
    for key in (key for each in messages for key in reference_keys(each)):
        text = text.replace(key, "own")
    return text


def _hash_text(text: str) -> str:
    return sha256(text.encode()).hexdigest()
