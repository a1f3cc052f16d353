"""Detect requests in Anthropic's dialect."""

from starlette.datastructures import Headers
from starlette.types import Scope

MESSAGES_PATH = "/v1/messages"
COUNT_PATH = f"{MESSAGES_PATH}/count_tokens"
ANTHROPIC_REQUEST_ID_HEADER = "request-id"
"""Response header with the request id for Anthropic's clients."""

_MODELS_PATH = "/v1/models"
_VERSION_HEADER = "anthropic-version"  # sent by all its clients


def speaks_anthropic(scope: Scope) -> bool:
    """Return whether a request uses Anthropic's dialect, by its path or a header."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if _is_below(path, MESSAGES_PATH):
        return True
    return _is_below(path, _MODELS_PATH) and _VERSION_HEADER in Headers(scope=scope)


def _is_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}/")
