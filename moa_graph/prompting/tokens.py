"""How long texts are, and how they are cut. Tokens are estimated: nothing is fetched to count."""

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage

BYTES_PER_TOKEN = 4  # of English in UTF-8, where nothing but the size of a text is known

MAX_ANSWER_CHARS = 10_000_000
"""Characters of an answer that are kept where no other bound is set: more than any model writes."""

_SLICE_CHARS = 4096  # characters that are encoded at a time, to be weighed
_MAX_WEIGHED_SLICES = 128  # of a text: more would hold up an event loop for more than 20 ms
_MESSAGE_TOKENS = 4  # tokens of a message's frame

# Hundredths of a token that a character weighs, by its first byte in UTF-8. Fitted to what the
# tokenizers of SmolLM2 (49,152 tokens), cl100k and o200k make of texts in 25 languages, code and
# data, nearer to the first; between them, they differ by up to four times where no letter is Latin.
_WEIGHTS: tuple[tuple[bytes, int], ...] = (
    (ascii_lowercase.encode(), 18),
    (bytes(range(0x80, 0xC0)), 0),  # what follows the first byte
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
_LONG_TEXT_CHARS = 65_536  # from here on a weight is remembered: every agent reads the question
_MAX_REMEMBERED_WEIGHTS = 256
_long_text_weights = dict[tuple[int, int], int]()


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return tokens_of_weight(weigh_text(text))


def tokens_of_weight(weight: int) -> int:
    """Estimate the tokens of texts that weigh so much together."""
    return -(-weight // 100)


def weigh_text(text: str) -> int:
    """Estimate the tokens of a text, in hundredths: those of its parts add up to those of it.

    Of a long text, only some parts are weighed, always the same ones.
    """
    if len(text) < _LONG_TEXT_CHARS:
        return _weigh_slices(text)
    key = (hash(text), len(text))  # the text itself is not kept
    if (weight := _long_text_weights.get(key)) is None:
        weight = _long_text_weights[key] = _weigh_slices(text)
        if len(_long_text_weights) > _MAX_REMEMBERED_WEIGHTS:
            _long_text_weights.pop(next(iter(_long_text_weights)), None)
    return weight


def fits_token_limit(text: str, max_tokens: int) -> bool:
    """Tell whether a text has no more than so many tokens."""
    is_short = len(text) * _MAX_WEIGHT <= max_tokens * 100
    return is_short or count_tokens(text) <= max_tokens


def count_message_tokens(
    messages: Sequence[AnyMessage], count: Callable[[str], int] = count_tokens
) -> int:
    """Estimate the tokens of a conversation, with a few for each message's frame."""
    return sum(count(_message_text(message)) + _MESSAGE_TOKENS for message in messages)


def check_token_limit(name: str, max_tokens: Any) -> None:
    """See that an option can be a number of tokens.

    Raises:
        ValueError: If it is neither a whole number above 0 nor `None`.
    """
    if max_tokens is not None and (not isinstance(max_tokens, int) or max_tokens < 1):
        raise ValueError(f"`{name}`={max_tokens!r}: expected a whole number above 0, or None")


def truncate_text(text: str, max_tokens: int | None) -> tuple[str, int]:
    """Cut a text that is longer than so many tokens, and say so where it ends.

    Args:
        text: The text.
        max_tokens: The most tokens that stay; `None` for all.

    Returns:
        The text, and how many characters were cut off.
    """
    if max_tokens is None or fits_token_limit(text, max_tokens):
        return text, 0
    count = _count_fitting_chars(text, max_tokens * 100)
    return _cut_behind(text, count) if count < len(text) else (text, 0)


def truncate_answer(text: str, max_tokens: int | None = None) -> tuple[str, int]:
    """Cut what a model wrote, as `truncate_text` does; without a bound, at `MAX_ANSWER_CHARS`."""
    if max_tokens is None and len(text) > MAX_ANSWER_CHARS:
        return _cut_behind(text, MAX_ANSWER_CHARS)
    return truncate_text(text, max_tokens)


def _cut_behind(text: str, count: int) -> tuple[str, int]:
    dropped_chars = len(text) - count
    return f"{text[:count]}\n[cut here: {dropped_chars:,} more characters]", dropped_chars


def fair_shares(sizes: Sequence[int], total: int) -> list[int]:
    """Share out a total: those who want little get it, the others get the same each.

    Args:
        sizes: What each wants.
        total: What there is.

    Returns:
        What each gets; all they want, if there is enough.
    """
    shares = [0] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for done, index in enumerate(order):
        shares[index] = min(sizes[index], max(0, total) // (len(sizes) - done))
        total -= shares[index]
    return shares


def _message_text(message: AnyMessage) -> str:
    """Give what a message says, with the calls that it makes; its own `text` is a copy."""
    text = message.content if isinstance(message.content, str) else message.text
    if not (isinstance(message, AIMessage) and message.tool_calls):
        return text
    try:
        calls = [f"{each['name']} {json.dumps(each['args'])}" for each in message.tool_calls]
    except (TypeError, ValueError, RecursionError):  # then its provider refuses it anyway
        return text
    return "\n".join([text, *calls])


def _weigh_slices(text: str) -> int:
    starts = range(0, len(text), _SLICE_CHARS)
    if len(starts) <= _MAX_WEIGHED_SLICES:
        return sum(_weigh_slice(text[start : start + _SLICE_CHARS]) for start in starts)
    # At even distances but for whole slices, the last one included: it may be short.
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
    """Count the characters of a text's beginning that weigh no more than so much."""
    for start in range(0, len(text), _SLICE_CHARS):
        part = text[start : start + _SLICE_CHARS]
        if (weight := _weigh_slice(part)) > max_weight:
            ends = range(1, len(part) + 1)
            return start + bisect_right(ends, max_weight, key=lambda end: _weigh_slice(part[:end]))
        max_weight -= weight
    return len(text)
