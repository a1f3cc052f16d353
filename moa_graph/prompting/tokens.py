"""How long texts are, and how they are cut. Tokens are estimated: nothing is fetched to count."""

from collections.abc import Callable, Sequence

from langchain_core.messages import AnyMessage

BYTES_PER_TOKEN = 4  # of UTF-8: about right for English, on the safe side for most other scripts

_SLICE = 4096  # characters that are encoded at a time, to be counted


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return count_tokens_of_bytes(count_bytes(text))


def count_tokens_of_bytes(count: int) -> int:
    """Estimate the tokens of a text of so many bytes in UTF-8."""
    return -(-count // BYTES_PER_TOKEN)


def fits(text: str, most: int) -> bool:
    """Tell whether a text has no more than so many tokens, of which a character is one at most."""
    return len(text) <= most or count_tokens(text) <= most


def count_message_tokens(
    messages: Sequence[AnyMessage], count: Callable[[str], int] = count_tokens
) -> int:
    """Estimate the tokens of a conversation, with a few for each message's frame."""
    return sum(count(_text_of(message)) + 4 for message in messages)


def cut(text: str, most: int | None) -> tuple[str, int]:
    """Cut a text that is longer than so many tokens, and say so where it ends.

    Args:
        text: The text.
        most: The most tokens that stay; `None` for all.

    Returns:
        The text, and how many characters were cut off.
    """
    if most is None or fits(text, most):
        return text, 0
    kept = text.encode("utf-8", "replace")[: most * BYTES_PER_TOKEN].decode("utf-8", "ignore")
    lost = len(text) - len(kept)
    return f"{kept}\n[cut here: {lost:,} more characters]", lost


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


def _text_of(message: AnyMessage) -> str:
    """Give the text of a message; its own `text` is a copy."""
    return message.content if isinstance(message.content, str) else message.text


def count_bytes(text: str) -> int:
    """Count the bytes of a text in UTF-8 without a copy of it."""
    if text.isascii():
        return len(text)
    slices = (text[start : start + _SLICE] for start in range(0, len(text), _SLICE))
    return sum(len(each.encode("utf-8", "replace")) for each in slices)
