"""Chat completions without what LangChain undoes at once: half of what a call costs.

The openai client walks over every message to translate what is plain JSON already, and makes a
model of the response, which `ChatOpenAI` dumps to the mapping that it was.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from httpx2 import Response

from moa_graph.chunks import AsyncChunks, Chunks

Chat = TypeVar("Chat")

_OF_ONE_CALL = frozenset({"extra_headers", "extra_query", "timeout"})


def lean(chat: Chat) -> Chat:
    """Let a `ChatOpenAI`, or what is built upon it, ask through this module.

    Args:
        chat: The chat model. One that reads more from a response than LangChain's own does, such
            as a subclass, is not for this.

    Returns:
        The same model. What parses goes the old way.
    """
    model: Any = chat
    if root := model.root_async_client:
        model.async_client = Completions(root, AsyncRaw(root), AsyncChunks)
    if root := model.root_client:
        model.client = Completions(root, Raw(root), Chunks)
    return chat


class _Instead:
    """What else may be asked is the openai client's own."""

    _usual: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._usual, name)


class Completions(_Instead):
    """The part of an openai client that `ChatOpenAI` asks."""

    def __init__(self, root: Any, raw: "Raw", chunks: type[Any]) -> None:
        self.with_raw_response, self._chunks = raw, chunks
        self._post, self._usual = root.post, root.chat.completions

    def create(self, **payload: Any) -> Any:
        """Ask for a stream, of chunks as they are."""
        if not payload.get("stream") or not _OF_ONE_CALL.isdisjoint(payload):
            return self._usual.create(**payload)
        request = _request(**payload) | {"cast_to": object}
        return self._post(**request, stream=True, stream_cls=self._chunks)


class Raw(_Instead):
    """Asks with a payload as it is."""

    def __init__(self, root: Any) -> None:
        self._post, self._usual = root.post, root.chat.completions.with_raw_response

    def create(self, **payload: Any) -> Any:
        """Ask for a completion."""
        if _is_special(payload):
            return self._usual.create(**payload)
        return RawResponse(self._post(**_request(**payload)))


class AsyncRaw(Raw):
    """Asks with a payload as it is."""

    async def create(self, **payload: Any) -> Any:
        """Ask for a completion."""
        if _is_special(payload):
            return await self._usual.create(**payload)
        return RawResponse(await self._post(**_request(**payload)))


class RawResponse:
    """A response as `ChatOpenAI` wants it."""

    def __init__(self, response: Response) -> None:
        self.http_response, self.headers = response, response.headers

    def parse(self) -> Any:
        """Read the answer; a text that is no JSON is given as it is."""
        try:
            return self.http_response.json()
        except ValueError:
            return self.http_response.text


def _is_special(payload: Mapping[str, Any]) -> bool:
    return bool(payload.get("stream")) or not _OF_ONE_CALL.isdisjoint(payload)


def _request(extra_body: Any = None, **body: Any) -> dict[str, Any]:
    options = {"extra_json": extra_body, "security": {"bearer_auth": True}}
    return {"path": "/chat/completions", "cast_to": Response, "body": body, "options": options}
