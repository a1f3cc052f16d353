"""The node cache: an agent that is asked the same again gives the answer that it gave before.

LangGraph would keep what a node writes: a failure too, and an answer under the turn in which it
was given. So the nodes look into the cache themselves, and keep what the model answered.
"""

import asyncio
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.cache.base import BaseCache
from langgraph.types import CachePolicy
from typing_extensions import TypedDict

from moa_graph.graph.deadlines import in_thread
from moa_graph.graph.spec import Seat
from moa_graph.graph.state import NOTHING_USED, Cached
from moa_graph.prompting import parsing
from moa_graph.prompting.layout import Layout

NAMESPACE = ("moa_graph", "answers")
VERSION = 1  # of the keys
LONGEST = 2.0  # seconds that a run waits for the cache, each time; a deadline goes on

_SHAPING = {"model", "temperature", "top_p", "max_tokens", "stop", "base_url"}
_NOT_SHAPING = re.compile(
    r"(api_?key|access_key|(api|ad|auth|access|session)_token|secret|password|timeout|max_retries"
    r"|streaming|stream_usage|callbacks|tags|metadata|verbose|^cache)$"
)
_CREDENTIAL = re.compile(
    r"(auth|authorization|(api|access|subscription)-?key|token|secret|cookie)$", re.IGNORECASE
)
_KNOWN = ("langchain", "moa_graph")
_ENDPOINTS = re.compile(r"(BASE_URL|API_BASE|API_URL|ENDPOINT|OLLAMA_HOST)$")
_USER = re.compile(r"(?<=://)[^/@\s\"]*@")

_log = logging.getLogger(__name__)


Cache = BaseCache[Any]


class Kept(TypedDict):
    """What the cache holds."""

    answer: AIMessage
    took: Cached


@dataclass(frozen=True)
class Memory:
    """What an agent has answered."""

    seat: Seat
    peers: Sequence[Seat]
    """Those of its layer that stand before it: each sample is kept under a number of its own."""
    layout: Layout
    policy: CachePolicy[Any] | None

    def place(
        self, messages: Sequence[AnyMessage], cache: Cache | None, *, anew: bool = False
    ) -> "Place":
        """Find where the answer to these messages is kept.

        Args:
            messages: What the agent is to read.
            cache: The cache that the graph was compiled with.
            anew: Whether it is to be asked in any case.
        """
        if not self.policy or not cache or not (key := self._key(messages)):
            return Place(None, "", None)
        return Place(cache, key, self.policy.ttl, anew=anew)

    @cached_property
    def _asked(self) -> Any:
        return _asked(self.seat)

    @cached_property
    def _number(self) -> int:
        same = (self._asked, self.seat.agent.system)
        return sum((_asked(peer), peer.agent.system) == same for peer in self.peers)

    def _key(self, messages: Sequence[AnyMessage]) -> str | None:
        """Make a key of all that shapes the answer; `None` where that is not known."""
        if self._asked is None:
            return None
        try:
            asked = _USER.sub("", json.dumps(self._asked, sort_keys=True))
            whole = [VERSION, asked, self._number, [_said(message) for message in messages]]
            text = json.dumps(whole, sort_keys=True)
        except (TypeError, RecursionError):  # such content may not read the same tomorrow
            return None
        return sha256(self.layout.without_key(text).encode()).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where one answer is kept. A cache that fails costs nothing but what it would have saved.

    One that does not answer costs `LONGEST` seconds: it is gone on without.
    """

    cache: Cache | None
    key: str
    ttl: int | None
    anew: bool = False

    def get(self) -> Kept | None:
        """Read the answer, if it is there."""
        if self.cache is None or self.anew:
            return None
        found: Mapping[Any, Any] = {}
        with _tolerating():
            found = in_thread(self.cache.get, [(NAMESPACE, self.key)]).result(LONGEST)
        return _checked(found)

    async def aget(self) -> Kept | None:
        """Read the answer, if it is there."""
        if self.cache is None or self.anew:
            return None
        found: Mapping[Any, Any] = {}
        with _tolerating():
            async with asyncio.timeout(LONGEST):
                found = await self.cache.aget([(NAMESPACE, self.key)])
        return _checked(found)

    def keep(self, output: Any, seconds: float) -> None:
        """Keep an answer."""
        if self.cache is not None:
            with _tolerating():
                in_thread(self.cache.set, self._pair(output, seconds)).result(LONGEST)

    async def akeep(self, output: Any, seconds: float) -> None:
        """Keep an answer."""
        if self.cache is not None:
            with _tolerating():
                async with asyncio.timeout(LONGEST):
                    await self.cache.aset(self._pair(output, seconds))

    def _pair(self, output: Any, seconds: float) -> dict[Any, Any]:
        return {(NAMESPACE, self.key): (_kept(output, seconds), self.ttl)}


def check_policy(policy: CachePolicy[Any] | None) -> None:
    """Check that a policy can be kept.

    Raises:
        ValueError: If it makes keys of its own.
    """
    if policy is not None and policy.key_func is not CachePolicy().key_func:
        raise ValueError(
            f"`cache_policy`: `key_func`={policy.key_func!r}: the key is made of all that the "
            "model is asked; expected a CachePolicy with `ttl` alone"
        )


@contextmanager
def _tolerating() -> Iterator[None]:
    try:
        yield
    except Exception:  # noqa: BLE001  # whatever it is: an answer that was paid for is not lost
        _log.warning("the node cache failed; the model is asked, or not kept", exc_info=True)


def _kept(output: Any, seconds: float) -> Kept:
    answer = parsing.to_message(output)
    took = Cached(usage=parsing.total_usage(output), seconds=seconds)
    # A message id is a thread's own, and tokens that nobody used are not counted again.
    update = {"id": None, "usage_metadata": NOTHING_USED}
    return Kept(answer=answer.model_copy(update=update), took=took)


def _checked(found: Mapping[Any, Any]) -> Kept | None:
    kept = next(iter(found.values()), None)
    known = isinstance(kept, dict) and isinstance(kept.get("answer"), AIMessage)
    return cast("Kept", kept) if known else None


def _asked(seat: Seat) -> Any:
    """Describe what is asked: model, parameters, endpoint; `None` where that is not known."""
    agent = seat.agent
    if isinstance(agent.model, str):
        if agent.model.startswith("recorded:"):  # its file may change, and it costs nothing
            return None
        return [agent.model_dump(include=_SHAPING), _endpoint(seat.model)]
    if not _is_known(agent.model):
        return None
    try:
        return [_described(agent.model), _endpoint(agent.model)]
    except LookupError:
        return None


def _is_known(model: Any) -> bool:
    """Tell whether a description says all of a model: what a user's subclass adds is not in it."""
    known = type(model).__module__.startswith(_KNOWN)
    if isinstance(model, RunnableBindingBase):
        return known and _is_known(model.bound)
    return known and isinstance(model, BaseChatModel)


def _described(model: Any) -> Any:
    """Describe a chat model, and what is bound to it.

    Raises:
        LookupError: If there is something that LangChain cannot describe.
    """
    if isinstance(model, RunnableBindingBase):
        return [_described(model.bound), _shaping(dumpd(model.kwargs))]
    described = dumpd(model)
    if described["type"] != "constructor":
        raise LookupError
    return [described["id"], _shaping(described["kwargs"])]


def _shaping(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a model's own fields what does not shape an answer, and credentials."""
    shaping = {name: each for name, each in fields.items() if not _NOT_SHAPING.search(name)}
    for name, headers in shaping.items():
        if name.endswith("headers") and isinstance(headers, dict):
            shaping[name] = {k: v for k, v in headers.items() if not _CREDENTIAL.search(str(k))}
    return cast("dict[str, Any]", _plain(shaping))


def _plain(described: Any) -> Any:
    """Make all names in a description text, as they are in a request; LangChain took secrets out.

    Raises:
        LookupError: If there is something that LangChain cannot describe.
    """
    if isinstance(described, dict):
        if "lc" in described and described.get("type") == "not_implemented":
            raise LookupError
        return {str(name): _plain(value) for name, value in described.items()}
    return [_plain(each) for each in described] if isinstance(described, list) else described


def _endpoint(model: Any) -> Any:
    """Say where the requests of a model go."""
    inner = _innermost(model)
    if client := getattr(inner, "root_client", None) or getattr(inner, "root_async_client", None):
        return str(client.base_url)
    return sorted(each for each in os.environ.items() if _ENDPOINTS.search(each[0]))


def _innermost(model: Any) -> Any:
    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return model


def _said(message: AnyMessage) -> Any:
    """Give what a model reads of a message."""
    told: dict[str, Any] = {"type": message.type, "content": message.content, "name": message.name}
    told |= {name: getattr(message, name, None) for name in ("tool_calls", "tool_call_id")}
    told["more"] = {k: v for k, v in message.additional_kwargs.items() if v is not None}
    return {name: value for name, value in told.items() if value}
