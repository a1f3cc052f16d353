"""Streams of chat completions without what LangChain undoes at once: a third of what they cost.

The openai client makes a model of each chunk, which `ChatOpenAI` dumps to the mapping that it was.
"""

from asyncio import CancelledError, sleep, timeout
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from httpx2 import Response
from langchain_openai import StreamChunkTimeoutError
from openai import APIError, APITimeoutError, AsyncStream, Stream

from moa_graph.models.openai.normalization import ChunkNormalizer, ThoughtHabit, shorten
from moa_graph.models.openai.response_bodies import BodyRecorder
from moa_graph.models.partial_answers import UnfinishedAnswerError

_DONE = "[DONE]"  # the last event of a stream


class ChunkStream(Stream[object]):
    """A stream of chunks as plain mappings."""

    chunk_timeout: float | None = None
    """Seconds that the server may be silent after the first chunk."""
    model_name = ""
    habit: ThoughtHabit | None = None
    """What earlier streams of the model have shown."""
    _is_done = False

    def __iter__(self) -> Iterator[Any]:
        normalizer = ChunkNormalizer(self.habit)
        try:
            for chunk in self._iter_chunks():
                yield from normalizer.normalize(chunk)
                if normalizer.is_full:
                    break
        except Exception as error:
            normalizer.attach_partial(error)
            check_words(error)
            raise
        yield from normalizer.finish(is_done=self._is_done)

    def _iter_chunks(self) -> Iterator[Any]:
        received, recorder = 0, BodyRecorder(self._decoder)
        self._decoder = recorder
        with bounded_reads(self.response, lambda: self.chunk_timeout if received else None):
            try:
                for chunk in super().__iter__():
                    received += 1
                    yield chunk
                for chunk in recorder.read_chunks():
                    self._is_done = True
                    yield chunk
            except APITimeoutError as error:
                if not (received and self.chunk_timeout):
                    raise
                raise StreamChunkTimeoutError(
                    self.chunk_timeout, model_name=self.model_name, chunks_received=received
                ) from error

    def _iter_events(self) -> Iterator[Any]:
        for event in super()._iter_events():
            self._is_done = event.data.startswith(_DONE)
            check_event(event)
            yield event


class AsyncChunkStream(AsyncStream[object]):
    """A stream of chunks as plain mappings."""

    chunk_timeout: float | None = None
    """Seconds that a chunk may take after the first one, which a model may think about. Up to
    Python 3.11, LangChain makes a task of each to bound it: a quarter of what a token costs."""
    model_name = ""
    habit: ThoughtHabit | None = None
    """What earlier streams of the model have shown."""
    _is_done = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        normalizer = ChunkNormalizer(self.habit)
        try:
            async for chunk in self._iter_chunks():
                for each in normalizer.normalize(chunk):
                    yield each
                    await sleep(0)  # what comes in a burst is seen as it is read, and others run
                if normalizer.is_full:
                    break
        except (Exception, CancelledError) as error:
            normalizer.attach_partial(error)
            check_words(error)
            raise
        for each in normalizer.finish(is_done=self._is_done):
            yield each
            await sleep(0)

    async def _iter_chunks(self) -> AsyncIterator[Any]:
        received, recorder = 0, BodyRecorder(self._decoder)
        self._decoder = recorder
        while True:
            try:
                async with timeout(self.chunk_timeout if received else None) as bound:
                    chunk = await super().__anext__()
            except StopAsyncIteration:
                break
            except TimeoutError as error:
                if not (bound.expired() and self.chunk_timeout):
                    raise
                raise StreamChunkTimeoutError(
                    self.chunk_timeout, model_name=self.model_name, chunks_received=received
                ) from error
            received += 1
            yield chunk
        for chunk in recorder.read_chunks():
            self._is_done = True
            yield chunk

    async def _iter_events(self) -> AsyncIterator[Any]:
        async for event in super()._iter_events():
            self._is_done = event.data.startswith(_DONE)
            check_event(event)
            yield event


@contextmanager
def bounded_reads(response: Response, limit: Callable[[], float | None]) -> Iterator[None]:
    """Bound how long each read from a response's connection may take, until the block ends.

    Args:
        response: The response, whose body is not read yet. httpcore looks at its own bound once,
            when that begins.
        limit: Gives the seconds, whenever something is read.
    """
    connection = response.extensions.get("network_stream")
    if connection is None:
        yield
        return
    read = connection.read

    def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
        bounds = [each for each in (timeout, limit()) if each is not None]
        data: bytes = read(max_bytes, min(bounds, default=None))
        return data

    connection.read = read_in_time
    try:
        yield
    finally:
        del connection.read  # the next request uses the same connection


def check_event(event: Any) -> None:
    """Raise what a server sends as an event of the name `error` in its own form.

    The openai client raises those that have an `error` in them.

    Raises:
        UnfinishedAnswerError: If it is one.
    """
    if event.event != "error":
        return
    try:
        data = event.json()
    except ValueError:
        data = event.data
    if not (isinstance(data, dict) and data.get("error")):
        words = data.get("message") if isinstance(data, dict) else None
        raise UnfinishedAnswerError(f"the answer ended in an error: {shorten(words or data)}")


def check_words(error: BaseException) -> None:
    """Raise again what a server says of an error, where the openai client leaves its words out.

    It repeats the `message` of an error only.

    Raises:
        UnfinishedAnswerError: If it left them out.
    """
    body = error.body if type(error) is APIError else None
    message = body.get("message") if isinstance(body, dict) else None
    if body and not (isinstance(message, str) and message):
        raise UnfinishedAnswerError(f"the answer ended in an error: {shorten(body)}") from error
