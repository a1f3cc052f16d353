"""Parse response bodies, including those that are not completions: errors, HTML, empty ones."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from moa_graph.errors import MoAError
from moa_graph.models.openai.normalization import iter_mappings, read_error_words, shorten
from moa_graph.models.partial_answers import (
    PartialAnswer,
    UnfinishedAnswerError,
    attach_partial_answer,
)
from moa_graph.prompting.usage import clean_usage

_JSON_STARTS, _HTML_START = ("{", "["), "<"
_MAX_START_BYTES = 100  # first characters of a body, for errors


class NoCompletionError(MoAError, ValueError):
    """A server returned something other than a chat completion with a success status."""


def read_completion(
    content: bytes, get_encoding: Callable[[], str | None] | None = None
) -> dict[str, Any]:
    """Parse a chat completion.

    Args:
        content: The body of a response.
        get_encoding: Returns the encoding of its header, which is parsed only if the body is not
            UTF-8.

    Raises:
        UnfinishedAnswerError: If it is truncated JSON.
        NoCompletionError: If it is something else, such as an error or an HTML page.
    """
    text = _decode(content, get_encoding)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        if text.lstrip().startswith(_JSON_STARTS):
            raise UnfinishedAnswerError(f"the answer is no valid JSON: {shorten(text)}") from None
        kind = "a page of HTML" if text.lstrip().startswith(_HTML_START) else "a text"
        what = f"{kind}: {shorten(text)}" if text.strip() else "nothing"
        raise NoCompletionError(f"expected a chat completion, got {what}") from None
    _check_completion(body)
    return body  # type: ignore[no-any-return]  # that it is one was just checked


def _decode(content: bytes, get_encoding: Callable[[], str | None] | None = None) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        with suppress(LookupError, UnicodeDecodeError):
            return content.decode((get_encoding and get_encoding()) or "utf-8")
        return content.decode("utf-8", "replace")


def _check_completion(body: Any) -> None:
    choice: Mapping[str, Any] = next(iter_mappings(body, "choices"), {})
    is_object = isinstance(body, dict)
    words = read_error_words(body) if is_object else None
    if isinstance(choice.get("message"), dict) and not words:
        return
    if words:
        error: MoAError = NoCompletionError(f"the server answered with an error: {words}")
    else:
        error = NoCompletionError(
            f"expected a chat completion with a message in `choices`, got {shorten(body)}"
        )
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    text = content.strip() if isinstance(content, str) else ""
    usage = clean_usage(body.get("usage")) if is_object else None
    if text or usage:
        attach_partial_answer(error, PartialAnswer(text, usage, choice.get("finish_reason")))
    raise error


class BodyRecorder:
    """Decodes the events of a stream, and records the body of a response without events.

    Args:
        decoder: The event decoder of the openai client.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder, self._has_events = decoder, False
        self._body = bytearray()

    def iter_bytes(self, iterator: Iterator[bytes]) -> Iterator[Any]:
        """Decode events."""
        for event in self._decoder.iter_bytes(map(self._record, iterator)):
            self._has_events = True
            yield event

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """Decode events."""
        async for event in self._decoder.aiter_bytes(self._arecord(iterator)):
            self._has_events = True
            yield event

    def read_chunks(self) -> list[dict[str, Any]]:
        """Return a completion that a server sent instead of a stream as a chunk.

        Returns:
            The chunk; nothing if there was a stream, or an empty body.

        Raises:
            UnfinishedAnswerError: If it is truncated JSON.
            NoCompletionError: If it is something else, such as an HTML page.
        """
        start = _decode(bytes(self._body[:_MAX_START_BYTES]), None).lstrip()
        if self._has_events or not start.startswith((*_JSON_STARTS, _HTML_START)):
            return []
        return [_to_chunk(read_completion(bytes(self._body)))]

    def _record(self, data: bytes) -> bytes:
        if not self._has_events:
            self._body += data
        elif self._body:
            self._body.clear()
        return data

    async def _arecord(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in iterator:
            yield self._record(data)


def _to_chunk(completion: dict[str, Any]) -> dict[str, Any]:
    choice = next(iter_mappings(completion, "choices"))
    delta = choice["message"]
    for index, call in enumerate(iter_mappings(delta, "tool_calls")):
        call["index"] = index
    rest = {name: value for name, value in choice.items() if name != "message"}
    return {**completion, "choices": [{**rest, "index": 0, "delta": delta}]}
