"""Join surrogate pairs that models split between tokens. Pure functions."""

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AnyMessage

_SURROGATES = re.compile("[\ud800-\udfff]")
_SURROGATE_PAIRS = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def replace_surrogates(text: str) -> str:
    """Join surrogate pairs; replace a lone surrogate, which no database accepts, by `?`."""
    if text.isascii() or not _SURROGATES.search(text):
        return text
    joined = _SURROGATE_PAIRS.sub(_join_surrogates, text)
    return joined.encode("utf-8", "replace").decode("utf-8")


def _join_surrogates(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def replace_in_messages(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Copy messages with surrogates; the others are shared."""
    return [
        message
        if message.content == (content := _replace_in_value(message.content))
        else message.model_copy(update={"content": content})
        for message in messages
    ]


def _replace_in_value(value: Any) -> Any:
    """Replace surrogates in a text, or in the texts of a nested value."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [_replace_in_value(each) for each in value]
    if isinstance(value, dict):
        return {key: _replace_in_value(each) for key, each in value.items()}
    return value
