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
    """Summary of one turn of a mixture; all values are plain.

    It also has the keys of `RunQuality`: `degraded`, `served_models` and `agreement`.

    Attributes:
        layers: Number of layers of proposers that ran.
        proposers: Nodes of the proposers, in configured order.
        asked: Number of proposers in the layers that ran.
        answered: Number of proposers that answered.
        failed: Nodes of the proposers that failed.
        errors: Cause of each failure by node, including aggregators that a fallback replaced.
        aggregator: Model of the aggregator that answered: `provider:model`, or the name of a
            runnable.
        aggregator_usage: Tokens of the aggregator as LangChain's `UsageMetadata`; `None` if the
            model did not report them.
        started: Start of the aggregator's call, in seconds since 1970.
        seconds: Wall time of the aggregator's call.
        dropped_reference_chars: Characters of the references that were left out of the aggregator's
            prompt.
        usage: Known tokens of all calls of the run.
        usage_unknown: Nodes with unknown tokens that answered or may be billed.
        dropped: Nodes of the proposers whose proposals a person dropped; absent if there are none.
            They do not count as failures.
        failed_calls: Calls of aggregators whose answer is not used: a fallback replaced them, a
            hedged call answered first, or they failed before a run of `moa` was resumed; absent if
            there are none.
        hedged: Nodes whose request was sent a second time because of `hedge`; absent if there are
            none.
        reused_proposals: Whether a chat model reused the proposals of an earlier call of the same
            turn; absent for a graph, which always calls its proposers.
        cached: Nodes whose answers come from the cache or from an earlier call of the same turn;
            absent if there are none.
        saved_usage: Original tokens of the answers in `cached`.
        aggregator_cached: Original tokens and seconds of the aggregator's answer, if it comes from
            the cache.
        dropped_messages: Messages of earlier turns that `trim_history` left out of the aggregator's
            prompt.
        refused_prompt: Data of an aggregator's prompt that was refused because of its length.
        depth: Depth of the turn and its reason; absent if nothing was decided.
        decisions: Decisions of models about the depth, with their tokens; absent if there are none.
        references_read: Nodes of the proposals that the aggregator read, in order, if they were
            drawn at random; absent if it read all in configured order.
        references_seed: Seed of the draw of `references_read`.
        selected: Node of the proposal that is the answer, with `aggregation="select"` or `"vote"`.
        analysis: How the aggregator read the analysis: `beside` the proposals; `instead` of them;
            `left out` because it could not be parsed; or `skipped` because an early stop or a
            router ended the layers before. Absent without the option `analysis`.
        vote: Result of the vote, with `aggregation="vote"`.
    """

    layers: int
    proposers: list[str]
    asked: int
    answered: int
    failed: list[str]
    errors: dict[str, str]
    aggregator: str
    aggregator_usage: dict[str, Any] | None
    started: float
    seconds: float
    dropped_reference_chars: int
    usage: dict[str, Any] | None
    usage_unknown: list[str]
    dropped: NotRequired[list[str]]
    failed_calls: NotRequired[list[FailedCall]]
    hedged: NotRequired[list[str]]
    reused_proposals: NotRequired[bool]
    cached: NotRequired[list[str]]
    saved_usage: NotRequired[dict[str, Any] | None]
    aggregator_cached: NotRequired[OriginalCallStats | None]
    dropped_messages: NotRequired[int]
    refused_prompt: NotRequired[RefusedPrompt]
    depth: NotRequired[RunDepth]
    decisions: NotRequired[list[DepthDecision]]
    references_read: NotRequired[list[str]]
    references_seed: NotRequired[str]
    selected: NotRequired[str]
    analysis: NotRequired[str]
    vote: NotRequired[VoteSummary]


def read_run_summary(message: BaseMessage | None) -> RunSummary | None:
    """Read the summary of an answer, which an earlier version may have stored."""
    summary = message.response_metadata.get("moa") if message else None
    return cast("RunSummary", translate_summary(summary)) if summary else None
