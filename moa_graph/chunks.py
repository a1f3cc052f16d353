"""Streams of chat completions without what LangChain undoes at once: a third of what they cost.

The openai client makes a model of each chunk, which `ChatOpenAI` dumps to the mapping that it was.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from openai import AsyncStream, Stream


class Chunks(Stream[object]):
    """A stream of chunks as plain mappings."""

    def __iter__(self) -> Iterator[Any]:
        for chunk in super().__iter__():
            yield whole(chunk)


class AsyncChunks(AsyncStream[object]):
    """A stream of chunks as plain mappings."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for chunk in super().__aiter__():
            yield whole(chunk)


def whole(chunk: Any) -> Any:
    """Fill in what some servers leave out, as the openai client does; other values stay."""
    for choice in _mappings(chunk, "choices"):
        delta = choice.setdefault("delta", None)
        for call in _mappings(delta, "tool_calls"):
            call.setdefault("index", None)
            call.setdefault("function", {})
    return chunk


def _mappings(value: Any, name: str) -> Iterator[dict[str, Any]]:
    each = value.get(name) if isinstance(value, dict) else None
    return (item for item in each or () if isinstance(item, dict))
