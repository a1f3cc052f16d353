"""Fast path for streamed chat completions, without conversions that LangChain reverses.

The openai client parses each chunk into a model, which `ChatOpenAI` dumps to a mapping again.
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

_DONE = "[DONE]"  # last event of a stream


class ChunkStream(Stream[object]):
    """A stream of chunks as plain mappings."""

    chunk_timeout: float | None = None
    """Maximum number of seconds between chunks."""
    model_name = ""
    habit: ThoughtHabit | None = None
    """Habits of the model in earlier streams."""
    keeps_reasoning = False
    """Whether reasoning stays in the text, between tags."""
    _is_done = False

    def __iter__(self) -> Iterator[Any]:
        normalizer = ChunkNormalizer(self.habit, keep_reasoning=self.keeps_reasoning)
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
    """Maximum number of seconds between chunks; the first chunk may take longer. Up to Python 3.11,
    LangChain's limit creates a task per chunk, a quarter of the cost of a token."""
    model_name = ""
    habit: ThoughtHabit | None = None
    """Habits of the model in earlier streams."""
    keeps_reasoning = False
    """Whether reasoning stays in the text, between tags."""
    _is_done = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        normalizer = ChunkNormalizer(self.habit, keep_reasoning=self.keeps_reasoning)
        try:
            async for chunk in self._iter_chunks():
                for each in normalizer.normalize(chunk):
                    yield each
                    await sleep(0)  # yield to other tasks during a burst of chunks
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
    """Limit the time of each read from a response's connection until the block ends.

    Args:
        response: The response, whose body is not read yet. httpcore reads its own timeout only
            once, when the body starts.
        limit: Returns the seconds for each read.
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
    """Raise an error for an event with the name `error` whose data has a server's own form.

    The openai client itself raises errors for data with the key `error`.

    Raises:
        UnfinishedAnswerError: If it is such an event.
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
    """Raise an error with the full text of a server if the openai client omits it.

    The openai client repeats only the `message` of an error.

    Raises:
        UnfinishedAnswerError: If the text was omitted.
    """
    body = error.body if type(error) is APIError else None
    message = body.get("message") if isinstance(body, dict) else None
    if body and not (isinstance(message, str) and message):
        raise UnfinishedAnswerError(f"the answer ended in an error: {shorten(body)}") from error
