"""Messages for HTTP errors whose client omits the text of the server."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from moa_graph.connection_failures import bare_address

_MAX_WORDS_CHARS = 200  # characters of a server's message
_WRONG_PATH = {404, 405}
_HTML_TITLE = re.compile(r"<title[^>]{0,100}>([^<]{1,200})", re.IGNORECASE)


def describe_status_failure(error: BaseException) -> str | None:
    """Describe a response with an error status: the address, the status and the text of the server.

    Args:
        error: An exception of a client.

    Returns:
        A line; `None` for an error of another kind, or if its own message is clear enough.
    """
    if "APIStatusError" not in {kind.__name__ for kind in type(error).__mro__}:
        return None
    response: Any = getattr(error, "response", None)
    status, text = getattr(response, "status_code", None), str(error)
    is_wrong_path = status in _WRONG_PATH and "model" not in text.lower()
    if response is None or not (is_wrong_path or text == f"Error code: {status}"):
        return None
    address = bare_address(str(response.request.url))
    words = "" if text != f"Error code: {status}" else _read_words(response.text)
    message = f"{type(error).__name__}: {text}{words and f' - {words}'} (at {address})"
    if not is_wrong_path:
        return message
    is_versioned = re.search(r"/v\d", urlsplit(address).path)
    hint = "" if is_versioned else ": most servers' ends in /v1"
    return f"{message}; check the address{hint}"


def _read_words(text: str) -> str:
    """Return the message of a response body: from JSON, the title of a page, or plain text."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, Mapping):
        fields = (body.get(name) for name in ("error", "message", "detail"))
        words = next((each for each in fields if each), "")
        text = words if isinstance(words, str) else json.dumps(words, default=str)
    elif text.lstrip().startswith("<"):
        match = _HTML_TITLE.search(text)
        text = match[1] if match else "a page of HTML"
    text = " ".join(text.split())
    return text if len(text) <= _MAX_WORDS_CHARS else f"{text[:_MAX_WORDS_CHARS]}…"
