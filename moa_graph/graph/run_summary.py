"""How an answer came about: `response_metadata["moa"]` of the message."""

from typing import Any, NotRequired, cast

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict  # Python 3.11's own has no JSON schema

from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.state import OriginalCallStats, RefusedPrompt
from moa_graph.stored_names import translate_summary


class RunSummary(TypedDict):
    """Summary of one turn of a mixture; all values are plain."""

    layers: int
    """Layers of proposers."""
    proposers: list[str]
    """Nodes of the proposers, in configured order."""
    asked: int
    """Proposers in the mixture."""
    answered: int
    """Proposers that answered."""
    failed: list[str]
    """Nodes of the proposers that did not."""
    errors: dict[str, str]
    """Cause of each failure by node, those of aggregators that a fallback replaced among them."""
    aggregator: str
    """Model of the aggregator that answered: `provider:model`, or the name of a runnable."""
    aggregator_usage: dict[str, Any] | None
    """Its tokens, as LangChain's `UsageMetadata`; `None` if the model did not say."""
    started: float
    """When it was called, in seconds since 1970."""
    seconds: float
    """Wall time of its call."""
    dropped_reference_chars: int
    """Characters of the references that it was not shown."""
    usage: dict[str, Any] | None
    """Tokens of the whole run, as far as they are known."""
    usage_unknown: list[str]
    """Nodes whose tokens are not known, of those that answered or may be billed all the same."""
    failed_calls: NotRequired[list[FailedCall]]
    """Calls of aggregators whose answer is not used: a fallback replaced them, they were asked
    beside one that answered first, or they failed before a run of `moa` was resumed; absent if
    there are none."""
    hedged: NotRequired[list[str]]
    """Nodes beside whose request a second one was sent, because nothing had come for the `hedge`
    of the agent; absent if there was none."""
    reused_proposals: NotRequired[bool]
    """Whether a chat model took all proposals from an earlier call of the same turn, and asked no
    proposer; absent of a graph, which always asks."""
    cached: NotRequired[list[str]]
    """Nodes whose answers are from the cache, or from an earlier call of the same turn; absent if
    none is."""
    saved_usage: NotRequired[dict[str, Any] | None]
    """Tokens that these answers took when the models were asked."""
    aggregator_cached: NotRequired[OriginalCallStats | None]
    """What the aggregator's answer took then, if it is from the cache."""
    dropped_messages: NotRequired[int]
    """Messages of earlier turns that the aggregator was not shown, with `trim_history`."""
    refused_prompt: NotRequired[RefusedPrompt]
    """The aggregator's prompt that its model refused before, because it was too long."""
    selected: NotRequired[str]
    """Node of the proposal that is the answer, with `aggregation="select"`."""


def read_run_summary(message: BaseMessage | None) -> RunSummary | None:
    """Read the summary of an answer, maybe one that an earlier version stored."""
    summary = message.response_metadata.get("moa") if message else None
    return cast("RunSummary", translate_summary(summary)) if summary else None
