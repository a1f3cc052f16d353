"""Chat completions without what LangChain undoes at once: half of what a call costs.

The openai client walks over every message to translate what is plain JSON already, and makes a
model of the response, which `ChatOpenAI` dumps to the mapping that it was.
"""

from collections.abc import Mapping
from typing import Any

from httpx2 import Response

from moa_graph.models.openai.fast_streams import AsyncChunkStream, ChunkStream
from moa_graph.models.openai.normalization import ThoughtHabit, normalize_completion
from moa_graph.models.openai.response_bodies import read_completion

_PER_CALL_OPTIONS = frozenset({"extra_headers", "extra_query", "timeout"})


def use_fast_completions(model: Any) -> None:
    """Let a `ChatOpenAI`, or what is built upon it, ask through this module, but where it parses.

    Args:
        model: The chat model; it is changed. One that reads more from a response than LangChain's
            own does, such as a subclass, is not for this.
    """
    clients = (model.client, model.async_client)
    if not all(each is None or type(each).__module__.startswith("openai.") for each in clients):
        return  # it does already, or somebody put other ones there
    chunk_timeout, habit = model.stream_chunk_timeout or None, ThoughtHabit()
    model.stream_chunk_timeout = None
    if root := model.root_async_client:
        model.async_client = AsyncFastCompletions(root, chunk_timeout, habit)
    if root := model.root_client:
        model.client = FastCompletions(root, chunk_timeout, habit)


class _DelegatingCompletions:
    """What else may be asked is the openai client's own."""

    _original: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._original, name)


class FastCompletions(_DelegatingCompletions):
    """The part of an openai client that `ChatOpenAI` asks; it also bounds how long chunks take."""

    def __init__(self, root: Any, chunk_timeout: float | None, habit: ThoughtHabit) -> None:
        self._post, self._original = root.post, root.chat.completions
        self._chunk_timeout, self._habit = chunk_timeout, habit
        self.with_raw_response = FastRawCompletions(root)

    def create(self, **payload: Any) -> Any:
        """Ask for a stream, of chunks as they are."""
        if _needs_original_client(payload, streamed=True):
            return self._original.create(**payload)
        stream = self._post(**_build_request(payload, object), stream=True, stream_cls=ChunkStream)
        stream.chunk_timeout, stream.model_name = self._chunk_timeout, payload["model"]
        stream.habit = self._habit
        return stream


class AsyncFastCompletions(_DelegatingCompletions):
    """The same of an async client."""

    def __init__(self, root: Any, chunk_timeout: float | None, habit: ThoughtHabit) -> None:
        self._post, self._original = root.post, root.chat.completions
        self._chunk_timeout, self._habit = chunk_timeout, habit
        self.with_raw_response = AsyncFastRawCompletions(root)

    async def create(self, **payload: Any) -> Any:
        """Ask for a stream, of chunks as they are."""
        if _needs_original_client(payload, streamed=True):
            return await self._original.create(**payload)
        stream = await self._post(
            **_build_request(payload, object), stream=True, stream_cls=AsyncChunkStream
        )
        stream.chunk_timeout, stream.model_name = self._chunk_timeout, payload["model"]
        stream.habit = self._habit
        return stream


class FastRawCompletions(_DelegatingCompletions):
    """Asks with a payload as it is."""

    def __init__(self, root: Any) -> None:
        self._post, self._original = root.post, root.chat.completions.with_raw_response

    def create(self, **payload: Any) -> Any:
        """Ask for a completion."""
        if _needs_original_client(payload, streamed=False):
            return self._original.create(**payload)
        return FastRawResponse(self._post(**_build_request(payload, Response)))


class AsyncFastRawCompletions(FastRawCompletions):
    """Asks with a payload as it is."""

    async def create(self, **payload: Any) -> Any:
        """Ask for a completion."""
        if _needs_original_client(payload, streamed=False):
            return await self._original.create(**payload)
        return FastRawResponse(await self._post(**_build_request(payload, Response)))


class FastRawResponse:
    """A response as `ChatOpenAI` wants it."""

    def __init__(self, response: Response) -> None:
        self.http_response, self.headers = response, response.headers

    def parse(self) -> Any:
        """Read the answer.

        Raises:
            UnfinishedAnswerError: If it ended in an error, or was cut off.
            NoCompletionError: If it is none.
        """
        response = self.http_response
        return normalize_completion(read_completion(response.content, encoding=response.encoding))


def _needs_original_client(payload: Mapping[str, Any], *, streamed: bool) -> bool:
    return bool(payload.get("stream")) != streamed or not _PER_CALL_OPTIONS.isdisjoint(payload)


def _build_request(payload: Mapping[str, Any], cast_to: type) -> dict[str, Any]:
    body = {name: value for name, value in payload.items() if name != "extra_body"}
    options = {"extra_json": payload.get("extra_body"), "security": {"bearer_auth": True}}
    return {"path": "/chat/completions", "cast_to": cast_to, "body": body, "options": options}
