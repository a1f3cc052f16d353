"""Agents that may write the answer: the aggregator and its fallbacks."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from time import perf_counter, time
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from moa_graph.graph.answer_cache import AnswerCache, CacheBackend
from moa_graph.graph.deadlines import LayerDeadline
from moa_graph.graph.hedging import Hedge, Request
from moa_graph.graph.model_call import call_model
from moa_graph.graph.prompts import PromptDraft
from moa_graph.graph.proposer import with_agent_metadata
from moa_graph.graph.selection import ModelCall, NumberRequest
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import OriginalCallStats
from moa_graph.prompting.usage import sum_usages
from moa_graph.sync_async import Flow

AskModel = Callable[[NumberRequest, Any, ModelCall], Flow[Any]]
"""Requests an answer, or the number of a proposal, from a model."""

CheckOutput = Callable[["WriterRequest", Any], None]
"""Rejects an output that is neither."""


@dataclass(frozen=True)
class Writer:
    """The aggregator or a fallback, with its cache and time limits."""

    agent_node: AgentNode
    answer_cache: AnswerCache
    number_request: NumberRequest
    deadline: LayerDeadline


class WriterRequest(Request):
    """One request of a writer."""

    cached: OriginalCallStats | None = None
    """Original tokens and time of a cached answer."""
    overtaken: "WriterRequest | None" = None
    """The other request of a hedge, which was cancelled."""

    def __init__(
        self,
        writer: Writer,
        draft: PromptDraft,
        cache: CacheBackend | None,
        ask_model: AskModel,
        check_output: CheckOutput,
    ) -> None:
        self.writer, self.agent_node, self.draft = writer, writer.agent_node, draft
        self._ask_model, self._check_output = ask_model, check_output
        self.model = self.agent_node.model
        self._cache_entry = writer.answer_cache.find_entry(draft.prompt.messages, cache)
        self._is_stored = False
        self.started, self._timer_started = round(time(), 3), perf_counter()
        self._call_started = writer.deadline.now()

    @property
    def node(self) -> str:
        """Name of the node: `aggregator`, `fallback_1`, and so on."""
        return self.agent_node.node

    @property
    def seconds(self) -> float:
        """Seconds since the start of the request."""
        return round(perf_counter() - self._timer_started, 3)

    @property
    def is_overtaken_billed(self) -> bool:
        """Whether the cancelled request may have cost an unknown number of tokens."""
        return self.overtaken is not None and self.overtaken.may_be_billed

    def with_overtaken_usage(self, usage: dict[str, Any] | None) -> dict[str, Any] | None:
        """Add the known tokens of the cancelled request."""
        other = self.overtaken and self.overtaken.usage
        return sum_usages(filter(None, [usage, other])) if other else usage

    def hedged(
        self, waiting: Sequence[Writer], start: Callable[[Writer], "WriterRequest"]
    ) -> "Hedge[WriterRequest]":
        """Return the hedge of this request: the next writer, or the same one if none is left."""
        make_second = partial(start, waiting[0]) if waiting else self.repeat
        return Hedge(self, make_second, self.agent_node.agent.hedge)

    def repeat(self) -> "WriterRequest":
        """Copy the request for a client that does not retry; the timeout of the call continues."""
        repeated = copy(self)
        repeated.draft, repeated.model = copy(self.draft), self.agent_node.hedge_model
        return repeated

    def ask(self, config: RunnableConfig) -> Flow[Any]:
        """Return the answer from the cache, or call the model."""
        if cached_answer := (yield from self._cache_entry.get()):
            self.cached, self._is_stored = cached_answer["took"], True
            return cached_answer["answer"]
        call_config = with_agent_metadata(self.agent_node, config)

        def call(model: Runnable[Any, Any]) -> Flow[Any]:
            start_call = self.writer.deadline.call_starter(
                model, self.agent_node.agent.call_timeout, call_config, started=self._call_started
            )
            return call_model(self.agent_node, self.draft, start_call)

        return (yield from self._ask_model(self.writer.number_request, self.model, call))

    def check_output(self, output: Any) -> None:
        """Reject an output that is not an answer, or selects no proposal."""
        self._check_output(self, output)

    def store(self) -> Flow[None]:
        """Store the answer in the cache, unless it comes from there."""
        if not self._is_stored:
            yield from self._cache_entry.store(self.output, self.seconds)
