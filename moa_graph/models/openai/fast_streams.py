"""Streams of chat completions without what LangChain undoes at once: a third of what they cost.

The openai client makes a model of each chunk, which `ChatOpenAI` dumps to the mapping that it was.
"""

from asyncio import sleep, timeout
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_openai import StreamChunkTimeoutError
from openai import AsyncStream, Stream


class Chunks(Stream[object]):
    """A stream of chunks as plain mappings."""

    def __iter__(self) -> Iterator[Any]:
        for chunk in super().__iter__():
            yield whole(chunk)


class AsyncChunks(AsyncStream[object]):
    """A stream of chunks as plain mappings."""

    patience: float | None = None
    """Seconds that a chunk may take. Up to Python 3.11, LangChain makes a task of each to bound
    it, which is a quarter of what a token costs."""
    model_name = ""

    async def __aiter__(self) -> AsyncIterator[Any]:
        received = 0
        while True:
            try:
                async with timeout(self.patience) as bound:
                    chunk = await super().__anext__()
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                if not (bound.expired() and self.patience):
                    raise
                raise StreamChunkTimeoutError(
                    self.patience, model_name=self.model_name, chunks_received=received
                ) from error
            received += 1
            yield whole(chunk)
            await sleep(0)  # what comes in a burst is seen as it is read, and others run


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
