"""The node cache: an agent called again with an identical request returns its cached answer.

LangGraph would keep what a node writes: a failure too, and an answer under the turn in which it
was given. So the nodes look into the cache themselves, and keep what the model answered.
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
    """What the cache holds."""

    answer: AIMessage
    took: OriginalCallStats


@dataclass(frozen=True)
class AnswerCache:
    """What an agent has answered."""

    agent_node: AgentNode
    peers: Sequence[AgentNode]
    """Those of its layer that stand before it: each sample is kept under a number of its own."""
    layout: PromptLayout
    cache_policy: CachePolicy[Any] | None

    def find_entry(
        self,
        messages: Sequence[AnyMessage],
        cache: CacheBackend | None,
        *,
        bypass_cache: bool = False,
    ) -> "CacheEntry":
        """Find where the answer to these messages is kept.

        Args:
            messages: What the agent is to read.
            cache: The cache that the graph was compiled with.
            bypass_cache: Whether it is to be asked in any case.
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
        """Make the key of a request, and that of 0.1; none where the request is not known."""
        if self._request_identity is None:
            return ()
        try:
            identity = _URL_CREDENTIALS.sub("", json.dumps(self._request_identity, sort_keys=True))
            key = request_key(identity, messages, self._sample_number)
            legacy_key = legacy_node_cache_key(self.layout, identity, self._sample_number, messages)
        except (TypeError, RecursionError):  # such content may not read the same tomorrow
            return ()
        return (key, legacy_key) if legacy_key else (key,)


@dataclass(frozen=True)
class CacheEntry:
    """Where one answer is kept. A cache that fails costs nothing but what it would have saved.

    One that does not answer in time is gone on without.
    """

    cache: CacheBackend | None
    keys: Sequence[str]
    """Where it is looked for; it is stored under the first."""
    ttl: int | None
    bypass_cache: bool = False

    def get(self) -> Flow[CachedAnswer | None]:
        """Read the answer, if it is there."""
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
    """Check that a policy can be kept.

    Raises:
        ValueError: If it makes keys of its own.
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
    # A message id is a thread's own, and tokens that nobody used are not counted again.
    update = {"id": None, "usage_metadata": parsing.ZERO_USAGE}
    return CachedAnswer(answer=answer.model_copy(update=update), took=original_stats)


def identify_request(agent_node: AgentNode) -> Any:
    """Describe what is asked: model, parameters, endpoint; `None` where that is not known."""
    agent = agent_node.agent
    if isinstance(agent.model, str):
        if provider_of(agent.model).replays_files:  # the file may change, and it costs nothing
            return None
        options = agent.model_dump(include=_SHAPING_OPTIONS)
        if agent.reasoning_effort:  # left out when unset: what was kept before it counts
            options["reasoning_effort"] = agent.reasoning_effort
        return [options, _identify_endpoint(agent_node.model)]
    if not _can_be_described(agent.model):
        return None
    try:
        return [_describe_model(agent.model), _identify_endpoint(agent.model)]
    except LookupError:
        return None


def _can_be_described(model: Any) -> bool:
    """Tell whether a description says all of a model: what a user's subclass adds is not in it."""
    from langchain_core.language_models import BaseChatModel  # noqa: PLC0415  # loaded with a model

    is_own_class = type(model).__module__.startswith(_DESCRIBABLE_PACKAGES)
    if isinstance(model, RunnableBindingBase):
        return is_own_class and _can_be_described(model.bound)
    return is_own_class and isinstance(model, BaseChatModel)


def _describe_model(model: Any) -> Any:
    """Describe a chat model, and what is bound to it.

    Raises:
        LookupError: If there is something that LangChain cannot describe.
    """
    if isinstance(model, RunnableBindingBase):
        return [_describe_model(model.bound), _select_shaping_fields(dumpd(model.kwargs))]
    described = dumpd(model)
    if described["type"] != "constructor":
        raise LookupError
    return [described["id"], _select_shaping_fields(described["kwargs"])]


def _select_shaping_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a model's own fields what does not shape an answer, and credentials."""
    selected = {name: each for name, each in fields.items() if not _NON_SHAPING_FIELDS.search(name)}
    for name, headers in selected.items():
        if name.endswith("headers") and isinstance(headers, dict):
            selected[name] = {
                k: v for k, v in headers.items() if not _CREDENTIAL_HEADERS.search(str(k))
            }
    return cast("dict[str, Any]", _to_plain_value(selected))


def _to_plain_value(described: Any) -> Any:
    """Make all names in a description text, as they are in a request; LangChain took secrets out.

    Raises:
        LookupError: If there is something that LangChain cannot describe.
    """
    if isinstance(described, dict):
        if "lc" in described and described.get("type") == "not_implemented":
            raise LookupError
        return {str(name): _to_plain_value(value) for name, value in described.items()}
    return (
        [_to_plain_value(each) for each in described] if isinstance(described, list) else described
    )


def _identify_endpoint(model: Any) -> Any:
    """Say where the requests of a model go."""
    inner = _unwrap_model(model)
    if client := getattr(inner, "root_client", None) or getattr(inner, "root_async_client", None):
        parameters = urlencode(getattr(client, "default_query", {}))
        return f"{client.base_url}?{parameters}" if parameters else str(client.base_url)
    return sorted(each for each in os.environ.items() if _ENDPOINT_VARIABLES.search(each[0]))


def _unwrap_model(model: Any) -> Any:
    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return model
