"""Keep keys out of what is stored and shown."""

import os
import re
from urllib.parse import urlsplit

MAX_ERROR_CHARS = 1000  # characters of an error

_KEY_VARIABLE_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)
_KEY_PATTERN = re.compile(r"\b(?:sk|pk|rk|gsk|xai|tgp)[-_][\w-]{8,}|(?<=Bearer )\S+", re.IGNORECASE)
MIN_KEY_CHARS = 6  # a shorter value would match everywhere


def redact(text: str, *keys: str) -> str:
    """Blot out keys in a text that a provider wrote: some repeat the key that they refuse.

    Args:
        text: The text.
        *keys: Keys beside those in the environment and those that look like one.

    Returns:
        The text with `***` in their place.
    """
    environment = (value for name, value in os.environ.items() if _KEY_VARIABLE_NAMES.search(name))
    for key in sorted({*environment, *keys}, key=len, reverse=True):
        if len(key) >= MIN_KEY_CHARS:
            text = text.replace(key, "***")
    return _KEY_PATTERN.sub("***", text)


def redacted_message(error: BaseException, *keys: str) -> str:
    """Say what went wrong in one line of bounded length, without these and other keys."""
    is_own_error = type(error).__module__.startswith("moa_graph.")  # such a text stands for itself
    kind = _unreachable_address(error) or type(error).__name__
    text = redact(str(error) if is_own_error else f"{kind}: {error}", *keys)
    text = " ".join(text.split()).removesuffix(":")
    return (
        text
        if len(text) <= MAX_ERROR_CHARS
        else f"{text[:MAX_ERROR_CHARS]}… ({len(text):,} characters)"
    )


def _unreachable_address(error: BaseException) -> str | None:
    """Say which address gave no connection, if that is the error: the text does not name it."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # several clients call it so
    url = getattr(getattr(error, "request", None), "url", None)
    if "APIConnectionError" not in kinds or "APITimeoutError" in kinds or url is None:
        return None
    parts = urlsplit(str(url))
    host = parts.netloc.rpartition("@")[2]
    return f"cannot reach {parts.scheme}://{host}{parts.path.removesuffix('/chat/completions')}"
