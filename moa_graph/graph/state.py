"""The state of a Mixture-of-Agents graph."""

from collections.abc import Sequence
from functools import reduce
from typing import Annotated, Any, NotRequired, Self

from langgraph.channels import DeltaChannel, EphemeralValue
from langgraph.errors import InvalidUpdateError
from langgraph.graph import MessagesState
from typing_extensions import TypedDict  # Python 3.11's own has no JSON schema

from moa_graph.graph.references import ReferencesChannel
from moa_graph.models.traits import ModelLimits
from moa_graph.stored_names import translate_proposal

RETRY = "ask again"
"""As the `error` of a proposal: its layer aggregator has the proposer asked again."""

_RETRY_AFTER = f"{RETRY} after "
"""How the error of a proposal begins that a layer aggregator marked; the cause follows."""

SNAPSHOT_FREQUENCY = 20
"""Layers after which a checkpoint holds all proposals of its turn; those between hold only what
was written since, or each would repeat what stands in all before it."""


class OriginalCallStats(TypedDict):
    """What an answer from the cache took when the model was asked for it."""

    usage: dict[str, Any] | None
    """Tokens, as LangChain's `UsageMetadata`; `None` if the model did not say."""
    seconds: float | None
    """`None` where it is from LangChain's cache, which does not say."""


class RefusedPrompt(TypedDict):
    """A prompt that was too long for its model, which was then asked with a shorter one."""

    prompt_tokens: int | None
    """Tokens of the refused prompt; `None` if the model did not say."""
    context_tokens: int | None
    """Tokens that prompt and answer may have together; `None` if the model did not say."""


class Proposal(TypedDict):
    """What one proposer answered, or why it did not.

    All values are plain, so that every checkpointer reads them back under strict
    serialization.
    """

    layer: int
    """Number of the layer, from 1."""
    agent: str
    """Name of the agent in its layer."""
    model: str
    """What was asked: `provider:model`, or the name of a runnable."""
    content: str
    """The answer without surrounding white space and without the model's thoughts; empty on
    failure."""
    error: str | None
    """Why there is no answer; `None` on success."""
    truncated_chars: int
    """Characters that were cut off its end, because it was longer than a reference may be."""
    dropped_reference_chars: int
    """Characters of the references that the agent was not shown: they were too long together,
    or for its context."""
    usage: dict[str, Any] | None
    """Tokens, as LangChain's `UsageMetadata`, with those of attempts that failed before in the same
    turn; `None` if the model did not say."""
    cached: OriginalCallStats | None
    """What the answer took before, if it is from the cache; `usage` then is nothing."""
    started: float
    """When the call began, in seconds since 1970."""
    seconds: float
    """Wall time of the call."""
    finish_reason: str | None
    """Why the model stopped, in its provider's word: `stop`, `length`, …"""
    turn_id: str
    """Id of the message that was answered."""
    attempt_id: str
    """Id of the attempt: tells a failure from the next one of the same agent."""
    dropped_messages: NotRequired[int]
    """Messages of earlier turns that the agent was not shown, with `trim_history`; absent if
    none."""
    refused_prompt: NotRequired[RefusedPrompt]
    """The prompt that the model refused before, because it was too long; absent if it did not."""
    partial_content: NotRequired[str]
    """What there was of an answer that failed: it ended in an error or before its end. Nobody is
    shown it as a reference."""
    may_be_billed: NotRequired[bool]
    """Whether a failed call, or one that another overtook, may have cost tokens of which nobody
    said how many."""
    joint_samples: NotRequired[int]
    """How many samples came of the same request, with `Agent(joint_samples=True)`: `usage` is a
    share of its tokens, and the first of them has those of the prompt. Absent if the request was
    for this one alone."""
    hedged: NotRequired[bool]
    """Whether the request was sent a second time, because nothing had come for the agent's `hedge`;
    absent if it was not."""


def awaits_retry(proposal: Proposal) -> bool:
    """Tell whether a proposal is marked so that its proposer is asked again."""
    error = proposal["error"] or ""
    return error == RETRY or error.startswith(_RETRY_AFTER)


def retry_mark_update(proposal: Proposal) -> dict[str, Any]:
    """Give the update that marks a failed proposal; its cause stays readable."""
    error = proposal["error"]
    return {"error": error if awaits_retry(proposal) else f"{_RETRY_AFTER}{error}"}


def merge_proposals(
    old: dict[str, Proposal], new: dict[str, Proposal | None]
) -> dict[str, Proposal]:
    """Take in the proposals of a node; those of an earlier turn give way.

    A turn is known by the id of the message that it answers. So a later turn on the same
    thread never stands beside leftovers, even where the graph has changed in between.

    Args:
        old: Proposals so far, keyed by node, in present keys.
        new: Proposals to take in, keyed by node. Through `update_state` a human may give only
            the fields that change, `None` to drop a proposal, or the error `RETRY` to have
            it asked for again.

    Returns:
        A new mapping; neither argument is changed.
    """
    new = {node: p and translate_proposal(p) for node, p in new.items()}  # type: ignore[misc]
    turn_ids = {
        proposal["turn_id"] for proposal in new.values() if proposal and "turn_id" in proposal
    }
    merged = {node: p for node, p in old.items() if not turn_ids or p.get("turn_id") in turn_ids}
    for node, proposal in new.items():
        if proposal is None:
            merged.pop(node, None)
        else:
            merged[node] = {**merged.get(node, {}), **proposal}  # type: ignore[typeddict-item]
    return merged


def merge_writes(
    old: dict[str, Proposal], writes: Sequence[dict[str, Proposal | None]]
) -> dict[str, Proposal]:
    """Take in the proposals of several nodes, one after the other."""
    return reduce(merge_proposals, writes, old)


class ProposalsChannel(DeltaChannel[dict[str, Proposal]]):
    """Holds the proposals; those that an earlier version stored get their present keys."""

    def update(self, values: Sequence[Any]) -> bool:
        """Take in what the nodes of a superstep have written.

        Raises:
            InvalidUpdateError: If two of them wrote different proposals under one name, as two
                mixtures side by side do whose agents have the same names.
        """
        if len(values) > 1:
            _check_single_writers(values)
        return super().update(values)

    def from_checkpoint(self, checkpoint: Any) -> Self:
        """Restore the proposals of a checkpoint, before writes are replayed on them."""
        channel = super().from_checkpoint(checkpoint)
        channel.value = {node: translate_proposal(p) for node, p in channel.value.items()}
        return channel


def _check_single_writers(writes: Sequence[Any]) -> None:
    attempts = dict[tuple[str, str], str]()
    for write in writes:
        for node, proposal in write.items() if isinstance(write, dict) else ():
            if not (proposal and proposal.get("attempt_id") and proposal.get("turn_id")):
                continue  # what a human changes
            attempt = proposal["attempt_id"]
            if attempts.setdefault((node, proposal["turn_id"]), attempt) != attempt:
                raise InvalidUpdateError(
                    f"`proposals`: two mixtures that run side by side in a host with `MoAState` "
                    f"both wrote {node!r}; give their agents different names, or give the host a "
                    "schema without `proposals`, such as `MessagesState`"
                )


class MoAState(MessagesState):
    """The conversation, and what the proposers made of its last message."""

    proposals: Annotated[
        dict[str, Proposal], ProposalsChannel(merge_writes, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]
    """Proposals of the present turn, keyed by node name (`layer_<k>_<agent>`)."""


class LayerState(MoAState):
    """What agents read; what it adds is private to the graph, never part of its output."""

    references: NotRequired[ReferencesChannel]
    """The proposals of the layer before, templated; see `moa_graph.graph.references`."""
    model_limits: NotRequired[dict[str, ModelLimits]]
    """How long the prompts of the next layer's agents may be, by node: who resumes a layer cuts
    references as they were cut before."""
    is_retry: NotRequired[Annotated[bool, EphemeralValue(bool)]]
    """Whether a layer aggregator has just sent proposers of its layer back. It holds for one
    superstep."""
