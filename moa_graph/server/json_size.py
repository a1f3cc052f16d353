"""How much a JSON text holds, found before anything is built of it."""

_ITEM_BYTES = (b",", b"[", b"{")


def count_json_items(text: bytes, limit: int) -> int:
    """Count the items of all lists and objects in a JSON text: each has a comma or bracket before.

    It looks through ten megabytes in hundredths of a second, since no step is taken in Python for
    a byte or a string of the text.

    Args:
        text: The JSON text. In one that is not valid, what stands before the mistake is counted.
        limit: From how many items on an estimate, which is above it, is enough.
    """
    count = _count_item_bytes(text)
    return count if count <= limit else _count_item_bytes(_without_strings(text, limit))


def _count_item_bytes(text: bytes) -> int:
    return sum(map(text.count, _ITEM_BYTES))


def _without_strings(text: bytes, limit: int) -> bytes:
    """Leave out what stands in quotes, unless there are more strings than the items may have."""
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if unescaped.count(b'"') > 4 * (limit + 1):  # an item has a key and a value, of two quotes each
        return text
    return b"".join(unescaped.split(b'"')[::2])
