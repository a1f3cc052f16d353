"""Measure the size of a JSON text before parsing it."""

_ITEM_BYTES = (b",", b"[", b"{")


def count_json_items(text: bytes, limit: int) -> int:
    """Count the items of all lists and objects in a JSON text, by their commas and brackets.

    Ten megabytes take hundredths of a second, because there is no Python step per byte or string.

    Args:
        text: The JSON text. In invalid JSON, the items before the error are counted.
        limit: Number of items above which an estimate is sufficient.
    """
    count = _count_item_bytes(text)
    return count if count <= limit else _count_item_bytes(_without_strings(text, limit))


def _count_item_bytes(text: bytes) -> int:
    return sum(map(text.count, _ITEM_BYTES))


def _without_strings(text: bytes, limit: int) -> bytes:
    """Remove strings, unless their number exceeds that of the allowed items."""
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if unescaped.count(b'"') > 4 * (limit + 1):  # an item has up to four quotes: for key and value
        return text
    return b"".join(unescaped.split(b'"')[::2])
