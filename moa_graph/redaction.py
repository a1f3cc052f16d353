"""Redact API keys from everything that is stored or shown."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from moa_graph.connection_failures import describe_connection_failure, error_chain
from moa_graph.status_failures import describe_status_failure

MAX_ERROR_CHARS = 1000  # characters of an error message

_MAX_READ_ERROR_CHARS = 100_000  # characters searched for keys: a key is much shorter

_KEY_VARIABLE_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)
_KEY_PATTERN = re.compile(r"\b(?:sk|pk|rk|gsk|xai|tgp)[-_][\w-]{8,}|(?<=Bearer )\S+", re.IGNORECASE)
MIN_KEY_CHARS = 6  # a shorter value would match everywhere


def redact(text: str, *keys: str) -> str:
    """Replace API keys in a text of a provider; some providers repeat the key that they reject.

    Args:
        text: The text.
        *keys: Keys beside those of the environment and strings that look like keys.

    Returns:
        The text with `***` instead of each key.
    """
    names = filter(_KEY_VARIABLE_NAMES.search, list(os.environ))
    environment = (os.environ.get(name, "") for name in names)  # another thread may unset it
    for key in sorted({*environment, *keys}, key=len, reverse=True):
        if len(key) >= MIN_KEY_CHARS:
            text = text.replace(key, "***")
    return _KEY_PATTERN.sub("***", text)


def find_keys(values: Mapping[str, Any]) -> list[str]:
    """Return the values whose names say that they are keys."""
    named = [value for name, value in values.items() if _KEY_VARIABLE_NAMES.search(name)]
    texts = [getattr(value, "get_secret_value", lambda value=value: value)() for value in named]
    return [text for text in texts if isinstance(text, str)]


def redacted_message(error: BaseException, *keys: str) -> str:
    """Return an error message as one line of limited length, without keys."""
    is_own_error = type(error).__module__.startswith("moa_graph.")  # complete messages
    described = describe_connection_failure(error) or describe_status_failure(error)
    message = str(error) if is_own_error else described
    whole = message or f"{type(error).__name__}: {error}"
    text = redact(whole[:_MAX_READ_ERROR_CHARS], *keys)
    text = " ".join(text.split()).removesuffix(":")
    count = max(len(text), len(whole) if len(whole) > _MAX_READ_ERROR_CHARS else 0)
    return text if count <= MAX_ERROR_CHARS else f"{text[:MAX_ERROR_CHARS]}… ({count:,} characters)"


def without_keys(error: Exception, *keys: str) -> Exception:
    """Return an error without keys: the same error, or a redacted copy.

    Args:
        error: An exception of a provider's package.
        *keys: Keys as in `redact`.

    Returns:
        The error itself if no key is in its texts, its attributes, the headers of its request or
        its causes. Otherwise a copy without these headers and causes. If its type cannot be
        constructed, the copy has the nearest base type that can.
    """
    if not any(_holds_key(text, keys) for each in error_chain(error) for text in _texts_in(each)):
        return error
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, Exception)]
    copies = (_copy_as(kind, error, keys) for kind in kinds)
    return next((each for each in copies if each is not None), Exception(redact(str(error), *keys)))


def _texts_in(error: BaseException) -> Iterator[str]:
    """Return the texts of an error, of its attributes, and of the headers of its request."""
    yield from (_text_of(error, str), _text_of(error))
    for value in vars(error).values():
        yield _text_of(value)
        for part in (value, _read_attribute(value, "request")):
            if headers := _read_attribute(part, "headers"):
                yield _text_of(headers, lambda each: str(dict(each)))


def _holds_key(text: str, keys: Sequence[str]) -> bool:
    return redact(text, *keys) != text


def _copy_as(kind: type[Exception], error: Exception, keys: Sequence[str]) -> Exception | None:
    """Copy an error as one of its base types; return `None` if that type cannot be constructed."""
    arguments = error.args if kind is type(error) else (_text_of(error, str),)
    try:
        duplicate = kind.__new__(kind, *(_redact_value(each, keys) for each in arguments))
        duplicate.args = tuple(_redact_value(each, keys) for each in arguments)
        if kind is type(error):
            duplicate.__dict__ |= {k: _redact_value(v, keys) for k, v in vars(error).items()}
        texts = [str(duplicate), *_texts_in(duplicate)]
    except Exception:  # noqa: BLE001  # each type fails in its own way
        return None
    return None if any(_holds_key(text, keys) for text in texts) else duplicate


def _redact_value(value: Any, keys: Sequence[str]) -> Any:
    """Redact an argument or an attribute of an error; remove the headers of a request."""
    if isinstance(value, str):
        return redact(value, *keys)
    if isinstance(value, dict):
        return {k: _redact_value(v, keys) for k, v in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_redact_value(each, keys) for each in value)
    if (headers := _read_attribute(value, "headers")) is not None:
        return _redact_http(value, headers, keys)
    return redact(text, *keys) if _holds_key(text := _text_of(value), keys) else value


def _redact_http(value: Any, headers: Any, keys: Sequence[str]) -> Any:
    """Copy an HTTPX request without its headers, or a response with such a request."""
    request = _read_attribute(value, "request") or value
    bare_request = type(request)(request.method, redact(str(request.url), *keys))
    if request is value:
        return bare_request
    named = {name: redact(text, *keys) for name, text in headers.items()}
    unencoded = {k: v for k, v in named.items() if k.lower() != "content-encoding"}
    return type(value)(
        value.status_code,
        headers=unencoded,
        content=redact(value.text, *keys).encode(),
        request=bare_request,
    )


def _read_attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001  # HTTPX raises where a response has no request
        return None


def _text_of(value: Any, convert: Callable[[Any], str] = repr) -> str:
    try:
        return convert(value)
    except Exception:  # noqa: BLE001  # its own text fails
        return ""
