"""Chat completions without what LangChain undoes at once: half of what a call costs.

The openai client walks over every message to translate what is plain JSON already, and makes a
model of the response, which `ChatOpenAI` dumps to the mapping that it was.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from httpx2 import Headers, Request, RequestError, Response
from pydantic import SecretStr

from moa_graph.models.openai.aiohttp_transport import OneShotBody
from moa_graph.models.openai.clients import PerLoopAsyncClient, sent_before
from moa_graph.models.openai.fast_streams import AsyncChunkStream, ChunkStream
from moa_graph.models.openai.normalization import (
    ThoughtHabit,
    normalize_completion,
    thought_habit,
)
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
    chunk_timeout = model.stream_chunk_timeout or None
    habit = thought_habit(str(getattr(model.root_client, "base_url", "")), model.model_name)
    model.stream_chunk_timeout = None
    if root := model.root_async_client:
        own = model.http_async_client
        has_fixed_key = isinstance(model.openai_api_key, SecretStr)  # none that a call must ask for
        http_client = own if has_fixed_key and isinstance(own, PerLoopAsyncClient) else None
        model.async_client = AsyncFastCompletions(root, chunk_timeout, habit, http_client)
    if root := model.root_client:
        model.client = FastCompletions(root, chunk_timeout, habit)


def expect_thoughts(model: Any) -> bool:
    """Take in that a model's answers begin in a thought; tell whether its streams heed it."""
    if not isinstance(model.client, FastCompletions):
        return False
    model.client.habit.opens_in_prompt = model.client.habit.is_given = True
    return True


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
        self._chunk_timeout, self.habit = chunk_timeout, habit
        self.with_raw_response = FastRawCompletions(root, habit)

    def create(self, **payload: Any) -> Any:
        """Ask for a stream, of chunks as they are."""
        if _needs_original_client(payload, streamed=True):
            return self._original.create(**payload)
        stream = self._post(**_build_request(payload, object), stream=True, stream_cls=ChunkStream)
        stream.chunk_timeout, stream.model_name = self._chunk_timeout, payload["model"]
        stream.habit = self.habit
        return stream


class AsyncFastCompletions(_DelegatingCompletions):
    """The same of an async client."""

    def __init__(
        self, root: Any, chunk_timeout: float | None, habit: ThoughtHabit, http_client: Any = None
    ) -> None:
        self._post, self._original = root.post, root.chat.completions
        self._chunk_timeout, self.habit = chunk_timeout, habit
        self.with_raw_response = AsyncFastRawCompletions(root, habit, http_client)

    async def create(self, **payload: Any) -> Any:
        """Ask for a stream, of chunks as they are."""
        if _needs_original_client(payload, streamed=True):
            return await self._original.create(**payload)
        stream = await self._post(
            **_build_request(payload, object), stream=True, stream_cls=AsyncChunkStream
        )
        stream.chunk_timeout, stream.model_name = self._chunk_timeout, payload["model"]
        stream.habit = self.habit
        return stream


class FastRawCompletions(_DelegatingCompletions):
    """Asks with a payload as it is."""

    def __init__(self, root: Any, habit: ThoughtHabit) -> None:
        self._post, self._original = root.post, root.chat.completions.with_raw_response
        self._habit = habit

    def create(self, **payload: Any) -> Any:
        """Ask for a completion."""
        if _needs_original_client(payload, streamed=False):
            return self._original.create(**payload)
        return FastRawResponse(self._post(**_build_request(payload, Response)), self._habit)


class AsyncFastRawCompletions(FastRawCompletions):
    """Asks with a payload as it is.

    The openai client takes as long to build a request, and to look at the response, as all others
    together take for the call. The first request of a client is its own, and what it says beside
    its body is what later ones say. One that fails is handed to the openai client as the outcome of
    its own first attempt: whether it is made again, and what is raised, is decided there.
    """

    def __init__(self, root: Any, habit: ThoughtHabit, http_client: Any = None) -> None:
        super().__init__(root, habit)
        self._root, self._http_client = root, http_client
        self._template: Request | None = None
        self._template_of: tuple[Any, ...] = ()

    async def create(self, **payload: Any) -> Any:
        """Ask for a completion."""
        if _needs_original_client(payload, streamed=False):
            return await self._original.create(**payload)
        request = _build_request(payload, Response)
        if self._http_client is None:
            return FastRawResponse(await self._post(**request), self._habit)
        if (short := self._build_short(payload)) is None:
            response = await self._post(**request)
            self._learn(response, payload)
            return FastRawResponse(response, self._habit)
        try:
            outcome = await self._http_client.send(short)
            if outcome.is_success:
                return FastRawResponse(outcome, self._habit)
        except RequestError as error:
            outcome = error
        self._template = None
        with sent_before(outcome):
            return FastRawResponse(await self._post(**request), self._habit)

    @property
    def _settings(self) -> tuple[Any, ...]:
        return self._root.api_key, self._root.base_url, self._root.timeout

    def _build_short(self, payload: Mapping[str, Any]) -> Request | None:
        """Build a request as the openai client would; `None` where that is not known."""
        template = self._template
        if template is None or self._template_of != self._settings:
            return None
        if (content := _encode_body(payload)) is None:
            return None
        headers = Headers(template.headers)
        headers["content-length"] = f"{len(content)}"
        return Request(
            template.method,
            template.url,
            headers=headers,
            stream=OneShotBody(content, partial(self._http_client.expect_redirect, template.url)),
            extensions={**template.extensions},
        )

    def _learn(self, response: Response, payload: Mapping[str, Any]) -> None:
        """Keep what a first attempt said beside its body, if its body is as it is written here."""
        request, content = response.request, _encode_body(payload)
        is_first = request.headers.get("x-stainless-retry-count") == "0"
        length = request.headers.get("content-length")
        if is_first and not response.history and content and f"{len(content)}" == length:
            self._template = Request(
                request.method, request.url, headers=request.headers, extensions=request.extensions
            )
            self._template_of = self._settings


class FastRawResponse:
    """A response as `ChatOpenAI` wants it."""

    def __init__(self, response: Response, habit: ThoughtHabit) -> None:
        self.http_response, self.headers = response, response.headers
        self._habit = habit

    def parse(self) -> Any:
        """Read the answer.

        Raises:
            UnfinishedAnswerError: If it ended in an error, or was cut off.
            NoCompletionError: If it is none.
        """
        response = self.http_response
        completion = read_completion(response.content, encoding=response.encoding)
        self._habit.learn_from_completion(completion)
        return normalize_completion(completion)


def _needs_original_client(payload: Mapping[str, Any], *, streamed: bool) -> bool:
    return bool(payload.get("stream")) != streamed or not _PER_CALL_OPTIONS.isdisjoint(payload)


def _encode_body(payload: Mapping[str, Any]) -> bytes | None:
    """Write a body as the openai client does; `None` for what JSON itself does not know."""
    body = {name: value for name, value in payload.items() if name != "extra_body"}
    body |= payload.get("extra_body") or {}
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError):
        return None


def _build_request(payload: Mapping[str, Any], cast_to: type) -> dict[str, Any]:
    body = {name: value for name, value in payload.items() if name != "extra_body"}
    options = {"extra_json": payload.get("extra_body"), "security": {"bearer_auth": True}}
    return {"path": "/chat/completions", "cast_to": cast_to, "body": body, "options": options}
