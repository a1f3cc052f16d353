"""How long texts are, and how they are cut. Tokens are estimated: nothing is fetched to count."""

from collections.abc import Callable, Sequence

from langchain_core.messages import AnyMessage

BYTES_PER_TOKEN = 4  # of UTF-8: about right for English, on the safe side for most other scripts

_SLICE_CHARS = 4096  # characters that are encoded at a time, to be counted


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return count_tokens_of_bytes(count_bytes(text))


def count_tokens_of_bytes(count: int) -> int:
    """Estimate the tokens of a text of so many bytes in UTF-8."""
    return -(-count // BYTES_PER_TOKEN)


def fits_token_limit(text: str, max_tokens: int) -> bool:
    """Tell whether a text has no more than so many tokens, of which a character is one at most."""
    return len(text) <= max_tokens or count_tokens(text) <= max_tokens


def count_message_tokens(
    messages: Sequence[AnyMessage], count: Callable[[str], int] = count_tokens
) -> int:
    """Estimate the tokens of a conversation, with a few for each message's frame."""
    return sum(count(_message_text(message)) + 4 for message in messages)


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
    beginning = text.encode("utf-8", "replace")[: max_tokens * BYTES_PER_TOKEN].decode(
        "utf-8", "ignore"
    )
    dropped_chars = len(text) - len(beginning)
    return f"{beginning}\n[cut here: {dropped_chars:,} more characters]", dropped_chars


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
    """Give the text of a message; its own `text` is a copy."""
    return message.content if isinstance(message.content, str) else message.text


def count_bytes(text: str) -> int:
    """Count the bytes of a text in UTF-8 without a copy of it."""
    if text.isascii():
        return len(text)
    slices = (text[start : start + _SLICE_CHARS] for start in range(0, len(text), _SLICE_CHARS))
    return sum(len(each.encode("utf-8", "replace")) for each in slices)
