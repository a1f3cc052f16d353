"""`RunSummary`, the value of `response_metadata["moa"]`."""

from typing import Any, NotRequired, cast

from langchain_core.messages import BaseMessage

from moa_graph.graph.depth import RunDepth
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.run_quality import RunQuality
from moa_graph.graph.state import OriginalCallStats, RefusedPrompt
from moa_graph.graph.voting import VoteSummary
from moa_graph.stored_names import translate_summary


class RunSummary(RunQuality):
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
    """Nodes of the proposers that failed."""
    errors: dict[str, str]
    """Cause of each failure by node, including aggregators that a fallback replaced."""
    aggregator: str
    """Model of the aggregator that answered: `provider:model`, or the name of a runnable."""
    aggregator_usage: dict[str, Any] | None
    """Its tokens as LangChain's `UsageMetadata`; `None` if the model did not report them."""
    started: float
    """Start of its call, in seconds since 1970."""
    seconds: float
    """Wall time of its call."""
    dropped_reference_chars: int
    """Characters of the references that were left out of its prompt."""
    usage: dict[str, Any] | None
    """Known tokens of the whole run."""
    usage_unknown: list[str]
    """Nodes with unknown tokens that answered or may be billed."""
    dropped: NotRequired[list[str]]
    """Nodes of the proposers whose proposals a person dropped; absent if there are none. They are
    no failures."""
    failed_calls: NotRequired[list[FailedCall]]
    """Calls of aggregators whose answer is not used: a fallback replaced them, a hedged call
    answered first, or they failed before a run of `moa` was resumed; absent if there are none."""
    hedged: NotRequired[list[str]]
    """Nodes whose request was sent a second time because of `hedge`; absent if there are none."""
    reused_proposals: NotRequired[bool]
    """Whether a chat model reused the proposals of an earlier call of the same turn; absent for a
    graph, which always calls its proposers."""
    cached: NotRequired[list[str]]
    """Nodes whose answers come from the cache or from an earlier call of the same turn; absent if
    there are none."""
    saved_usage: NotRequired[dict[str, Any] | None]
    """Original tokens of these answers."""
    aggregator_cached: NotRequired[OriginalCallStats | None]
    """Original tokens and seconds of the aggregator's answer, if it comes from the cache."""
    dropped_messages: NotRequired[int]
    """Messages of earlier turns that `trim_history` left out of the aggregator's prompt."""
    refused_prompt: NotRequired[RefusedPrompt]
    """Data of an aggregator's prompt that was refused because of its length."""
    depth: NotRequired[RunDepth]
    """Depth of the turn and its reason; absent if nothing was decided."""
    decisions: NotRequired[list[DepthDecision]]
    """Decisions of models about the depth, with their tokens; absent if there are none."""
    references_read: NotRequired[list[str]]
    """Nodes of the proposals that the aggregator read, in order, if they were drawn at random;
    absent if it read all in configured order."""
    references_seed: NotRequired[str]
    """Seed of that draw."""
    selected: NotRequired[str]
    """Node of the proposal that is the answer, with `aggregation="select"` or `"vote"`."""
    analysis: NotRequired[str]
    """How the aggregator read the analysis: `beside` the proposals, `instead` of them, `left out`,
    because it could not be read, or `skipped`, because `early_stop` or a router had the answer
    written before; absent without the option `analysis`."""
    vote: NotRequired[VoteSummary]
    """Result of the vote, with `aggregation="vote"`."""


def read_run_summary(message: BaseMessage | None) -> RunSummary | None:
    """Read the summary of an answer, which an earlier version may have stored."""
    summary = message.response_metadata.get("moa") if message else None
    return cast("RunSummary", translate_summary(summary)) if summary else None
