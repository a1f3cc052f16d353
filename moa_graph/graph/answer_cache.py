"""The node cache: an agent called again with an identical request returns its cached answer.

The nodes read and write the cache themselves. LangGraph would cache the writes of a node, which
include failures and the id of the turn.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlencode

from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.cache.base import BaseCache
from langgraph.types import CachePolicy
from typing_extensions import TypedDict

from moa_graph.graph.cache_calls import cache_step, log_cache_errors
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import OriginalCallStats
from moa_graph.models.legacy_request_keys import legacy_node_cache_key
from moa_graph.models.providers import provider_of
from moa_graph.models.request_key import request_key
from moa_graph.prompting import parsing
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow

NAMESPACE = ("moa_graph", "answers")
_CACHE_NAME = "node cache"

_SHAPING_OPTIONS = {"model", "temperature", "top_p", "max_tokens", "stop", "base_url"}
_NON_SHAPING_FIELDS = re.compile(
    r"(api_?key|access_key|(api|ad|auth|access|session)_token|secret|password|timeout|max_retries"
    r"|streaming|stream_usage|callbacks|tags|metadata|verbose|^cache)$"
)
_CREDENTIAL_HEADERS = re.compile(
    r"(auth|authorization|(api|access|subscription)-?key|token|secret|cookie)$", re.IGNORECASE
)
_DESCRIBABLE_PACKAGES = ("langchain", "moa_graph")
_ENDPOINT_VARIABLES = re.compile(r"(BASE_URL|API_BASE|API_URL|ENDPOINT|OLLAMA_HOST)$")
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"]*@")


CacheBackend = BaseCache[Any]


class CachedAnswer(TypedDict):
    """The cached value."""

    answer: AIMessage
    took: OriginalCallStats


@dataclass(frozen=True)
class AnswerCache:
    """Cached answers of one agent."""

    agent_node: AgentNode
    peers: Sequence[AgentNode]
    """Agents before this one in its layer: each sample has its own number in the key."""
    layout: PromptLayout
    cache_policy: CachePolicy[Any] | None

    def find_entry(
        self,
        messages: Sequence[AnyMessage],
        cache: CacheBackend | None,
        *,
        bypass_cache: bool = False,
    ) -> "CacheEntry":
        """Return the cache entry of a request.

        Args:
            messages: The prompt.
            cache: The cache that the graph was compiled with.
            bypass_cache: Whether the model is called in any case.
        """
        if not self.cache_policy or not cache or not (keys := self._build_keys(messages)):
            return CacheEntry(None, (), None)
        return CacheEntry(cache, keys, self.cache_policy.ttl, bypass_cache=bypass_cache)

    @cached_property
    def _request_identity(self) -> Any:
        return identify_request(self.agent_node)

    @cached_property
    def _sample_number(self) -> int:
        same = (self._request_identity, self.agent_node.agent.system)
        return sum((identify_request(peer), peer.agent.system) == same for peer in self.peers)

    def _build_keys(self, messages: Sequence[AnyMessage]) -> tuple[str, ...]:
        """Return the keys of a request, of this version and of 0.1; none if it has no identity."""
        if self._request_identity is None:
            return ()
        try:
            identity = _URL_CREDENTIALS.sub("", json.dumps(self._request_identity, sort_keys=True))
            key = request_key(identity, messages, self._sample_number)
            legacy_key = legacy_node_cache_key(self.layout, identity, self._sample_number, messages)
        except (TypeError, RecursionError):  # content that JSON cannot hold
            return ()
        return (key, legacy_key) if legacy_key else (key,)


@dataclass(frozen=True)
class CacheEntry:
    """One entry of the cache. A failure of the cache, or a timeout, counts as a miss."""

    cache: CacheBackend | None
    keys: Sequence[str]
    """Keys for the lookup; the answer is stored under the first."""
    ttl: int | None
    bypass_cache: bool = False

    def get(self) -> Flow[CachedAnswer | None]:
        """Return the cached answer, if there is one."""
        if self.cache is None or self.bypass_cache:
            return None
        hits: Mapping[Any, Any] = {}
        with log_cache_errors(_CACHE_NAME):
            hits = yield cache_step(self.cache.get, self.cache.aget, self._full_keys)
        return self._first_valid_answer(hits)

    def store(self, output: Any, seconds: float) -> Flow[None]:
        """Store an answer."""
        if self.cache is not None:
            with log_cache_errors(_CACHE_NAME):
                item = self._to_cache_item(output, seconds)
                yield cache_step(self.cache.set, self.cache.aset, item)

    def _to_cache_item(self, output: Any, seconds: float) -> dict[Any, Any]:
        return {self._full_keys[0]: (_to_cached_answer(output, seconds), self.ttl)}

    @property
    def _full_keys(self) -> list[tuple[tuple[str, ...], str]]:
        return [(NAMESPACE, key) for key in self.keys]

    def _first_valid_answer(self, hits: Mapping[Any, Any]) -> CachedAnswer | None:
        for value in map(hits.get, self._full_keys):
            if isinstance(value, dict) and isinstance(value.get("answer"), AIMessage):
                return cast("CachedAnswer", value)
        return None


def check_policy(policy: CachePolicy[Any] | None) -> None:
    """Check that a cache policy is supported.

    Raises:
        ValueError: If it has its own `key_func`.
    """
    if policy is not None and policy.key_func is not CachePolicy().key_func:
        raise ValueError(
            f"`cache_policy`: `key_func`={policy.key_func!r}: the key is made of all that the "
            "model is asked; expected a CachePolicy with `ttl` alone"
        )


def _to_cached_answer(output: Any, seconds: float) -> CachedAnswer:
    answer = parsing.to_message(output)
    usage = parsing.read_usage(output)
    original_stats = OriginalCallStats(
        usage=usage.saved_usage if usage.is_cached else usage.usage,
        seconds=None if usage.is_cached else seconds,
    )
    # Message ids belong to a thread, and the tokens of a cached answer are not spent again.
    update = {"id": None, "usage_metadata": parsing.ZERO_USAGE}
    return CachedAnswer(answer=answer.model_copy(update=update), took=original_stats)


def identify_request(agent_node: AgentNode) -> Any:
    """Describe model, parameters and endpoint of a request; `None` if they are unknown."""
    agent = agent_node.agent
    if isinstance(agent.model, str):
        if provider_of(agent.model).replays_files:  # the file may change, and reading it is free
            return None
        options = agent.model_dump(include=_SHAPING_OPTIONS)
        if agent.reasoning_effort:  # omitted if unset: older entries stay valid
            options["reasoning_effort"] = agent.reasoning_effort
        return [options, _identify_endpoint(agent_node.model)]
    if not _can_be_described(agent.model):
        return None
    try:
        return [_describe_model(agent.model), _identify_endpoint(agent.model)]
    except LookupError:
        return None


def _can_be_described(model: Any) -> bool:
    """Return whether a description of a model is complete: subclasses may have more fields."""
    from langchain_core.language_models import BaseChatModel

    is_own_class = type(model).__module__.startswith(_DESCRIBABLE_PACKAGES)
    if isinstance(model, RunnableBindingBase):
        return is_own_class and _can_be_described(model.bound)
    return is_own_class and isinstance(model, BaseChatModel)


def _describe_model(model: Any) -> Any:
    """Describe a chat model and its bound arguments.

    Raises:
        LookupError: If LangChain cannot describe a part of it.
    """
    if isinstance(model, RunnableBindingBase):
        return [_describe_model(model.bound), _select_shaping_fields(dumpd(model.kwargs))]
    described = dumpd(model)
    if described["type"] != "constructor":
        raise LookupError
    return [described["id"], _select_shaping_fields(described["kwargs"])]


def _select_shaping_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Select the fields of a model that shape an answer, without credentials."""
    selected = {name: each for name, each in fields.items() if not _NON_SHAPING_FIELDS.search(name)}
    for name, headers in selected.items():
        if name.endswith("headers") and isinstance(headers, dict):
            selected[name] = {
                k: v for k, v in headers.items() if not _CREDENTIAL_HEADERS.search(str(k))
            }
    return cast("dict[str, Any]", _to_plain_value(selected))


def _to_plain_value(described: Any) -> Any:
    """Replace each constructor in a description by its name; LangChain has removed the secrets.

    Raises:
        LookupError: If LangChain cannot describe a part of it.
    """
    if isinstance(described, dict):
        if "lc" in described and described.get("type") == "not_implemented":
            raise LookupError
        return {str(name): _to_plain_value(value) for name, value in described.items()}
    return (
        [_to_plain_value(each) for each in described] if isinstance(described, list) else described
    )


def _identify_endpoint(model: Any) -> Any:
    """Return the endpoint that a model sends requests to."""
    inner = _unwrap_model(model)
    if client := getattr(inner, "root_client", None) or getattr(inner, "root_async_client", None):
        parameters = urlencode(getattr(client, "default_query", {}))
        return f"{client.base_url}?{parameters}" if parameters else str(client.base_url)
    return sorted(each for each in os.environ.items() if _ENDPOINT_VARIABLES.search(each[0]))


def _unwrap_model(model: Any) -> Any:
    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return model
