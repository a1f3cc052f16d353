"""Estimate tokens without a tokenizer, and truncate texts."""

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage

BYTES_PER_TOKEN = 4  # bytes of English text per token, if only the size of a text is known

MAX_ANSWER_CHARS = 10_000_000
"""Maximum characters of an answer without another limit: more than any model writes."""

_SLICE_CHARS = 4096  # characters per slice
_MAX_WEIGHED_SLICES = 128  # slices of a text: more would block an event loop for more than 20 ms
_MESSAGE_TOKENS = 4  # tokens around a message

# Weight of a character in hundredths of a token, by its first byte in UTF-8. Fitted to the
# tokenizers of SmolLM2 (49,152 tokens), cl100k and o200k on texts in 25 languages, code and data,
# closer to the first. For scripts other than Latin, these differ by up to a factor of four.
_WEIGHTS: tuple[tuple[bytes, int], ...] = (
    (ascii_lowercase.encode(), 18),
    (bytes(range(0x80, 0xC0)), 0),  # continuation bytes
    (b" ", 25),
    (bytes(range(0xE3, 0xEA)) + b"\xef", 160),  # Chinese, Japanese
    (bytes(range(0xCB, 0xD5)), 75),  # Greek, Cyrillic
    (digits.encode(), 90),
    (ascii_uppercase.encode(), 60),
    (bytes(range(0xC0, 0xCB)), 200),  # letters with accents
    (bytes(range(0xEA, 0xEE)), 200),  # Korean
    (bytes(range(0xD5, 0xE0)), 100),  # Hebrew, Arabic
    (b"\xe0\xe1\xe2\xee", 130),  # Indic scripts and Thai, symbols
    (bytes(range(0xF0, 0x100)), 220),  # emoji
    (b"\n\r\t", 50),
)
_OTHER_WEIGHT = 70  # punctuation
_MAX_WEIGHT = 220
_LONG_TEXT_CHARS = 2_048  # weights of longer texts are cached
_MAX_REMEMBERED_WEIGHTS = 256
_long_text_weights = dict[tuple[int, int], int]()


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return tokens_of_weight(weigh_text(text))


def tokens_of_weight(weight: int) -> int:
    """Convert a total weight to tokens."""
    return -(-weight // 100)


def weigh_text(text: str) -> int:
    """Return the weight of a text in hundredths of a token; weights of parts add up.

    A long text is sampled, always at the same positions.
    """
    if len(text) < _LONG_TEXT_CHARS:
        return _weigh_slices(text)
    key = (hash(text), len(text))  # the text itself is not cached
    if (weight := _long_text_weights.get(key)) is None:
        weight = _long_text_weights[key] = _weigh_slices(text)
        if len(_long_text_weights) > _MAX_REMEMBERED_WEIGHTS:
            _long_text_weights.pop(next(iter(_long_text_weights)), None)
    return weight


def fits_token_limit(text: str, max_tokens: int) -> bool:
    """Return whether a text has at most so many tokens."""
    is_short = len(text) * _MAX_WEIGHT <= max_tokens * 100
    return is_short or count_tokens(text) <= max_tokens


def count_message_tokens(
    messages: Sequence[AnyMessage], count: Callable[[str], int] = count_tokens
) -> int:
    """Estimate the tokens of a conversation, including a few for each message."""
    return sum(count(_message_text(message)) + _MESSAGE_TOKENS for message in messages)


def check_token_limit(name: str, max_tokens: Any) -> None:
    """Check that an option is a valid number of tokens.

    Raises:
        ValueError: If it is neither a whole number above 0 nor `None`.
    """
    if max_tokens is not None and (not isinstance(max_tokens, int) or max_tokens < 1):
        raise ValueError(f"`{name}`={max_tokens!r}: expected a whole number above 0, or None")


def truncate_text(text: str, max_tokens: int | None) -> tuple[str, int]:
    """Truncate a text to a number of tokens, with a note at its end.

    Args:
        text: The text.
        max_tokens: Maximum number of tokens; `None` for all.

    Returns:
        The text, and the number of removed characters.
    """
    if max_tokens is None or fits_token_limit(text, max_tokens):
        return text, 0
    count = _count_fitting_chars(text, max_tokens * 100)
    return _cut_behind(text, count) if count < len(text) else (text, 0)


def truncate_answer(text: str, max_tokens: int | None = None) -> tuple[str, int]:
    """Truncate an answer as `truncate_text` does, by default at `MAX_ANSWER_CHARS`."""
    if max_tokens is None and len(text) > MAX_ANSWER_CHARS:
        return _cut_behind(text, MAX_ANSWER_CHARS)
    return truncate_text(text, max_tokens)


def _cut_behind(text: str, count: int) -> tuple[str, int]:
    dropped_chars = len(text) - count
    return f"{text[:count]}\n[cut here: {dropped_chars:,} more characters]", dropped_chars


def fair_shares(sizes: Sequence[int], total: int) -> list[int]:
    """Divide a total: small requests are granted, and the others get equal shares.

    Args:
        sizes: Requested sizes.
        total: The total.

    Returns:
        The granted sizes; all requests if the total suffices.
    """
    shares = [0] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for done, index in enumerate(order):
        shares[index] = min(sizes[index], max(0, total) // (len(sizes) - done))
        total -= shares[index]
    return shares


def _message_text(message: AnyMessage) -> str:
    """Return the text of a message with its tool calls; the property `text` would copy."""
    text = message.content if isinstance(message.content, str) else message.text
    if not (isinstance(message, AIMessage) and message.tool_calls):
        return text
    try:
        calls = [f"{each['name']} {json.dumps(each['args'])}" for each in message.tool_calls]
    except (TypeError, ValueError, RecursionError):  # its provider rejects it anyway
        return text
    return "\n".join([text, *calls])


def _weigh_slices(text: str) -> int:
    starts = range(0, len(text), _SLICE_CHARS)
    if len(starts) <= _MAX_WEIGHED_SLICES:
        return sum(_weigh_slice(text[start : start + _SLICE_CHARS]) for start in starts)
    # Evenly spaced whole slices, including the last one, which may be short.
    last = len(starts) - 1
    chosen = [
        starts[number * last // (_MAX_WEIGHED_SLICES - 1)] for number in range(_MAX_WEIGHED_SLICES)
    ]
    weighed = [text[start : start + _SLICE_CHARS] for start in chosen]
    return sum(map(_weigh_slice, weighed)) * len(text) // sum(map(len, weighed))


def _weigh_slice(text: str) -> int:
    data, weight = text.encode("utf-8", "replace"), 0
    for characters, each in _WEIGHTS:
        others = data.translate(None, characters)
        weight += each * (len(data) - len(others))
        if not (data := others):
            return weight
    return weight + _OTHER_WEIGHT * len(data)


def _count_fitting_chars(text: str, max_weight: int) -> int:
    """Return the number of characters at the start of a text within a weight."""
    for start in range(0, len(text), _SLICE_CHARS):
        part = text[start : start + _SLICE_CHARS]
        if (weight := _weigh_slice(part)) > max_weight:
            ends = range(1, len(part) + 1)
            return start + bisect_right(ends, max_weight, key=lambda end: _weigh_slice(part[:end]))
        max_weight -= weight
    return len(text)
