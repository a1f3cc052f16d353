"""Fast path for chat completions, without conversions that LangChain reverses.

The openai client converts every message to JSON, although the messages are plain JSON already. It
parses the response into a model, which `ChatOpenAI` dumps to a mapping again.
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
    """Make a `ChatOpenAI` or a subclass send requests through this module, except parsed ones.

    Args:
        model: The chat model; it is changed. A subclass that reads other parts of a response than
            LangChain's classes is not supported.
    """
    clients = (model.client, model.async_client)
    if not all(each is None or type(each).__module__.startswith("openai.") for each in clients):
        return  # already replaced, here or by the user
    chunk_timeout = model.stream_chunk_timeout or None
    habit = thought_habit(str(getattr(model.root_client, "base_url", "")), model.model_name)
    model.stream_chunk_timeout = None
    if root := model.root_async_client:
        own = model.http_async_client
        has_fixed_key = isinstance(model.openai_api_key, SecretStr)  # not requested per call
        http_client = own if has_fixed_key and isinstance(own, PerLoopAsyncClient) else None
        model.async_client = AsyncFastCompletions(root, chunk_timeout, habit, http_client)
    if root := model.root_client:
        model.client = FastCompletions(root, chunk_timeout, habit)


def expect_thoughts(model: Any) -> bool:
    """Record that answers begin with reasoning; return whether streams of the model support it."""
    if not isinstance(model.client, FastCompletions):
        return False
    model.client.habit.opens_in_prompt = model.client.habit.is_given = True
    return True


def keep_reasoning(model: Any) -> None:
    """Make answers of a model include the reasoning that its provider returns separately."""
    for client in (model.client, model.async_client):
        if isinstance(client, (FastCompletions, AsyncFastCompletions)):
            client.keeps_reasoning = True
            client.with_raw_response.keeps_reasoning = True


class _DelegatingCompletions:
    """Delegates all other attributes to the openai client."""

    _original: Any
    keeps_reasoning = False
    """Whether answers include reasoning that the provider returns separately."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._original, name)


class FastCompletions(_DelegatingCompletions):
    """The completions API that `ChatOpenAI` uses; it also limits the time between chunks."""

    def __init__(self, root: Any, chunk_timeout: float | None, habit: ThoughtHabit) -> None:
        self._post, self._original = root.post, root.chat.completions
        self._chunk_timeout, self.habit = chunk_timeout, habit
        self.with_raw_response = FastRawCompletions(root, habit)

    def create(self, **payload: Any) -> Any:
        """Request a stream of raw chunks."""
        if _needs_original_client(payload, streamed=True):
            return self._original.create(**payload)
        stream = self._post(**_build_request(payload, object), stream=True, stream_cls=ChunkStream)
        stream.chunk_timeout, stream.model_name = self._chunk_timeout, payload["model"]
        stream.habit, stream.keeps_reasoning = self.habit, self.keeps_reasoning
        return stream


class AsyncFastCompletions(_DelegatingCompletions):
    """`FastCompletions` for an async client."""

    def __init__(
        self, root: Any, chunk_timeout: float | None, habit: ThoughtHabit, http_client: Any = None
    ) -> None:
        self._post, self._original = root.post, root.chat.completions
        self._chunk_timeout, self.habit = chunk_timeout, habit
        self.with_raw_response = AsyncFastRawCompletions(root, habit, http_client)

    async def create(self, **payload: Any) -> Any:
        """Request a stream of raw chunks."""
        if _needs_original_client(payload, streamed=True):
            return await self._original.create(**payload)
        stream = await self._post(
            **_build_request(payload, object), stream=True, stream_cls=AsyncChunkStream
        )
        stream.chunk_timeout, stream.model_name = self._chunk_timeout, payload["model"]
        stream.habit, stream.keeps_reasoning = self.habit, self.keeps_reasoning
        return stream


class FastRawCompletions(_DelegatingCompletions):
    """Sends a payload unchanged."""

    def __init__(self, root: Any, habit: ThoughtHabit) -> None:
        self._post, self._original = root.post, root.chat.completions.with_raw_response
        self._habit = habit

    def create(self, **payload: Any) -> Any:
        """Ask for a completion."""
        if _needs_original_client(payload, streamed=False):
            return self._original.create(**payload)
        return self._wrap(self._post(**_build_request(payload, Response)))

    def _wrap(self, response: Response) -> "FastRawResponse":
        return FastRawResponse(response, self._habit, keeps_reasoning=self.keeps_reasoning)


class AsyncFastRawCompletions(FastRawCompletions):
    """Sends a payload unchanged.

    The openai client needs as much time to build a request and check its response as all other
    layers need for the call. The first request of a client goes through the openai client; later
    ones reuse its method, URL and headers. If a request fails, the openai client gets the failure
    as the outcome of its own first attempt, and decides about retries and errors.
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
            return self._wrap(await self._post(**request))
        if (short := self._build_short(payload)) is None:
            response = await self._post(**request)
            self._learn(response, payload)
            return self._wrap(response)
        try:
            outcome = await self._http_client.send(short)
            if outcome.is_success:
                return self._wrap(outcome)
        except RequestError as error:
            outcome = error
        self._template = None
        with sent_before(outcome):
            return self._wrap(await self._post(**request))

    @property
    def _settings(self) -> tuple[Any, ...]:
        return self._root.api_key, self._root.base_url, self._root.timeout

    def _build_short(self, payload: Mapping[str, Any]) -> Request | None:
        """Build a request equal to that of the openai client; `None` if its parts are unknown."""
        template = self._template
        if template is None or self._template_of != self._settings:
            return None
        if (content := _encode_body(payload)) is None:
            return None
        headers = Headers(template.headers, encoding=template.headers.encoding)
        headers["content-length"] = f"{len(content)}"
        return Request(
            template.method,
            template.url,
            headers=headers,
            stream=OneShotBody(content, partial(self._http_client.expect_redirect, template.url)),
            extensions={**template.extensions},
        )

    def _learn(self, response: Response, payload: Mapping[str, Any]) -> None:
        """Store the parts of a first request beside its body, if the body is encoded as here."""
        request, content = response.request, _encode_body(payload)
        is_first = request.headers.get("x-stainless-retry-count") == "0"
        length = request.headers.get("content-length")
        if is_first and not response.history and content and f"{len(content)}" == length:
            self._template = Request(
                request.method, request.url, headers=request.headers, extensions=request.extensions
            )
            self._template_of = self._settings


class FastRawResponse:
    """A response with the interface that `ChatOpenAI` uses."""

    def __init__(
        self, response: Response, habit: ThoughtHabit, *, keeps_reasoning: bool = False
    ) -> None:
        self.http_response, self.headers = response, response.headers
        self._habit, self._keeps_reasoning = habit, keeps_reasoning

    def parse(self) -> Any:
        """Parse the answer.

        Raises:
            UnfinishedAnswerError: If it ended in an error, or is truncated.
            NoCompletionError: If it is not a chat completion.
        """
        response = self.http_response
        completion = read_completion(response.content, lambda: response.encoding)
        self._habit.learn_from_completion(completion)
        return normalize_completion(completion, keep_reasoning=self._keeps_reasoning)


def _needs_original_client(payload: Mapping[str, Any], *, streamed: bool) -> bool:
    return bool(payload.get("stream")) != streamed or not _PER_CALL_OPTIONS.isdisjoint(payload)


def _encode_body(payload: Mapping[str, Any]) -> bytes | None:
    """Encode a body as the openai client does; `None` for values that JSON does not support."""
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
