"""Keep keys out of what is stored and shown."""

import os
import re
from urllib.parse import urlsplit

MOST = 1000  # characters of an error

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)
_LOOKS = re.compile(r"\b(?:sk|pk|rk|gsk|xai|tgp)[-_][\w-]{8,}|(?<=Bearer )\S+", re.IGNORECASE)
SHORTEST = 6  # a shorter value would match everywhere


def without_keys(text: str, *keys: str) -> str:
    """Blot out keys in a text that a provider wrote: some repeat the key that they refuse.

    Args:
        text: The text.
        *keys: Keys beside those in the environment and those that look like one.

    Returns:
        The text with `***` in their place.
    """
    environment = (value for name, value in os.environ.items() if _NAMES.search(name))
    for key in sorted({*environment, *keys}, key=len, reverse=True):
        if len(key) >= SHORTEST:
            text = text.replace(key, "***")
    return _LOOKS.sub("***", text)


def describe(error: BaseException, *keys: str) -> str:
    """Say what went wrong in one line of bounded length, without these and other keys."""
    own = type(error).__module__.startswith("moa_graph.")  # such a text stands for itself
    kind = _unreached(error) or type(error).__name__
    text = without_keys(str(error) if own else f"{kind}: {error}", *keys)
    text = " ".join(text.split()).removesuffix(":")
    return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text):,} characters)"


def _unreached(error: BaseException) -> str | None:
    """Say which address gave no connection, if that is the error: the text does not name it."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # several clients call it so
    url = getattr(getattr(error, "request", None), "url", None)
    if "APIConnectionError" not in kinds or "APITimeoutError" in kinds or url is None:
        return None
    parts = urlsplit(str(url))
    host = parts.netloc.rpartition("@")[2]
    return f"cannot reach {parts.scheme}://{host}{parts.path.removesuffix('/chat/completions')}"
