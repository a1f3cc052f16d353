"""Streams of chat completions without what LangChain undoes at once: a third of what they cost.

The openai client makes a model of each chunk, which `ChatOpenAI` dumps to the mapping that it was.
"""

from asyncio import sleep, timeout
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_openai import StreamChunkTimeoutError
from openai import APITimeoutError, AsyncStream, Stream


class ChunkStream(Stream[object]):
    """A stream of chunks as plain mappings."""

    chunk_timeout: float | None = None
    """Seconds that the server may be silent before the next chunk."""
    model_name = ""

    def __iter__(self) -> Iterator[Any]:
        received = 0
        if self.chunk_timeout:  # the connection looks at it when the body is read
            timeouts = self.response.request.extensions.setdefault("timeout", {})
            timeouts["read"] = min(self.chunk_timeout, timeouts.get("read") or self.chunk_timeout)
        try:
            for chunk in super().__iter__():
                received += 1
                yield fill_missing_fields(chunk)
        except APITimeoutError as error:
            raise StreamChunkTimeoutError(
                self.chunk_timeout or 0, model_name=self.model_name, chunks_received=received
            ) from error


class AsyncChunkStream(AsyncStream[object]):
    """A stream of chunks as plain mappings."""

    chunk_timeout: float | None = None
    """Seconds that a chunk may take after the first one, which a model may think about. Up to
    Python 3.11, LangChain makes a task of each to bound it: a quarter of what a token costs."""
    model_name = ""

    async def __aiter__(self) -> AsyncIterator[Any]:
        received = 0
        while True:
            try:
                async with timeout(self.chunk_timeout if received else None) as bound:
                    chunk = await super().__anext__()
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                if not (bound.expired() and self.chunk_timeout):
                    raise
                raise StreamChunkTimeoutError(
                    self.chunk_timeout, model_name=self.model_name, chunks_received=received
                ) from error
            received += 1
            yield fill_missing_fields(chunk)
            await sleep(0)  # what comes in a burst is seen as it is read, and others run


def fill_missing_fields(chunk: Any) -> Any:
    """Fill in what some servers leave out, as the openai client does; other values stay."""
    for choice in _iter_mappings(chunk, "choices"):
        delta = choice.setdefault("delta", None)
        for call in _iter_mappings(delta, "tool_calls"):
            call.setdefault("index", None)
            call.setdefault("function", {})
    return chunk


def _iter_mappings(value: Any, name: str) -> Iterator[dict[str, Any]]:
    each = value.get(name) if isinstance(value, dict) else None
    return (item for item in each or () if isinstance(item, dict))
