"""Limits on the size of responses."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
from openai import OpenAIError

from moa_graph.connection_failures import bare_address
from moa_graph.errors import MoAError
from moa_graph.json_size import count_json_items

MAX_RESPONSE_BYTES = 100_000_000
"""Maximum decompressed bytes of a response without streaming: ten times the longest answer."""

MAX_RESPONSE_ITEMS = 2_000_000
"""Maximum items in the JSON of a response, which need a hundred times their bytes in memory."""

MAX_ERROR_BYTES = 1_000_000
"""Bytes that are read of an error response."""


MAX_STREAM_BYTES = 1_000_000_000
"""Maximum bytes of a streamed response: a chunk has a hundred times the bytes of its token."""

MAX_LINE_BYTES = 20_000_000
"""Maximum bytes of a line in a stream: the openai client joins a line in quadratic time."""


class ResponseTooLargeError(MoAError, OpenAIError):
    """A response is larger than any answer.

    It is an error of the openai client, which retries all errors of HTTPX but not its own.
    """


def _too_large(
    request: httpx2.Request, what: str, most: int, unit: str = "bytes"
) -> ResponseTooLargeError:
    address = bare_address(str(request.url))
    return ResponseTooLargeError(f"{address}: {what} has more than {most:,} {unit}")


def read_response(response: httpx2.Response) -> httpx2.Response:
    """Read a response completely, or up to the limit.

    Raises:
        ResponseTooLargeError: If it is an answer beyond the limit.
    """
    body = _BoundedBody(response)
    try:
        for part in response.iter_bytes():
            if body.is_full_with(part):
                break
    finally:
        response.close()
    return body.to_response()


async def aread_response(response: httpx2.Response) -> httpx2.Response:
    """Read a response completely, or up to the limit.

    Raises:
        ResponseTooLargeError: If it is an answer beyond the limit.
    """
    body = _BoundedBody(response)
    try:
        async for part in response.aiter_bytes():
            if body.is_full_with(part):
                break
    finally:
        await response.aclose()
    return body.to_response()


def limit_stream(response: httpx2.Response) -> httpx2.Response:
    """Make a streamed response raise an error if it has more bytes than any answer."""
    response.stream = _LimitedStream(response.stream, response.request)
    return response


class _LimitedStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream of bytes that raises an error if it is too long."""

    def __init__(self, stream: Any, request: httpx2.Request) -> None:
        self._stream, self._request = stream, request
        self._size = self._line_size = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._count_bytes(part)
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._count_bytes(part)
            yield part

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _count_bytes(self, part: bytes) -> None:
        self._size += len(part)
        behind = len(part) - 1 - part.rfind(b"\n")  # the whole part without a line break
        self._line_size = behind + (self._line_size if behind == len(part) else 0)
        for size, most, what in (
            (self._size, MAX_STREAM_BYTES, "the stream"),
            (self._line_size, MAX_LINE_BYTES, "a line of the stream"),
        ):
            if size > most:
                raise _too_large(self._request, what, most)


class _BoundedBody:
    """The body of a response up to its limit."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response, self._parts, self._size = response, list[bytes](), 0
        self._most = MAX_ERROR_BYTES if response.is_error else MAX_RESPONSE_BYTES

    def is_full_with(self, part: bytes) -> bool:
        """Add a part, and return whether the limit is exceeded."""
        self._parts.append(part)
        self._size += len(part)
        return self._size > self._most

    def to_response(self) -> httpx2.Response:
        """Create a response with this decompressed body."""
        response = self._response
        if self._size > self._most and not response.is_error:
            raise _too_large(response.request, "the response", self._most)
        content = b"".join(self._parts)[: self._most]
        if _has_too_many_items(content):
            what = "items in its lists and objects"
            raise _too_large(response.request, "the response", MAX_RESPONSE_ITEMS, what)
        headers = [
            (name, value)
            for name, value in response.headers.raw
            if name.lower() not in {b"content-encoding", b"content-length", b"transfer-encoding"}
        ]
        whole = httpx2.Response(
            response.status_code,
            headers=headers,
            content=content,
            request=response.request,
            extensions=response.extensions,
        )
        whole.history, whole.elapsed = response.history, response.elapsed
        return whole


def _has_too_many_items(content: bytes) -> bool:
    """Return whether parsing a response would take more memory than any answer needs."""
    limit = MAX_RESPONSE_ITEMS
    return len(content) > limit and count_json_items(content, limit) > limit
