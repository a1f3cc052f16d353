"""The state of a mixture: messages, proposals and depth decisions."""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Annotated, Any, NotRequired, Self

from langgraph.channels import DeltaChannel, EphemeralValue
from langgraph.errors import InvalidUpdateError
from langgraph.graph import MessagesState
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.references import ReferencesChannel
from moa_graph.models.traits import ModelLimits
from moa_graph.prompting.analyses import Analysis
from moa_graph.stored_names import translate_proposal

RETRY = "ask again"
"""Value for the `error` of a proposal: its proposer is called again."""

_RETRY_AFTER = f"{RETRY} after "
"""Prefix of the error of a proposal that a layer aggregator marked; the cause follows."""

_OVERWRITE = "__overwrite__"
"""Key of LangGraph's `Overwrite` as JSON."""

SNAPSHOT_FREQUENCY = 20
"""Number of layers between checkpoints that hold all proposals of a turn. Checkpoints between them
hold only new proposals."""


class OriginalCallStats(TypedDict):
    """Tokens and time of the original call of a cached answer.

    Attributes:
        usage: Tokens as LangChain's `UsageMetadata`; `None` if the model did not report them.
        seconds: Wall time of the call; `None` for LangChain's cache, which does not store it.
    """

    usage: dict[str, Any] | None
    seconds: float | None


class RefusedPrompt(TypedDict):
    """A prompt that its model refused as too long, before it was called with a shorter one.

    Attributes:
        prompt_tokens: Tokens of the refused prompt; `None` if the model did not report them.
        context_tokens: Context length of the model in tokens; `None` if the model did not report
            it.
    """

    prompt_tokens: int | None
    context_tokens: int | None


class Proposal(TypedDict):
    """The answer of one proposer, or its failure.

    All values are plain, so every checkpointer can restore them under strict serialization.

    Attributes:
        layer: Number of the layer, from 1.
        agent: Name of the agent in its layer.
        model: Model that was called: `provider:model`, or the name of a runnable.
        content: The answer, without surrounding white space and reasoning; empty after a failure.
        error: Cause of a failure; `None` if there is an answer.
        truncated_chars: Characters removed from the end of an answer above `max_reference_tokens`.
        dropped_reference_chars: Characters of the references that were left out of the prompt
            because of the limit for all references or the context of the model.
        usage: Tokens as LangChain's `UsageMetadata`, including failed attempts in the same turn;
            `None` if the model did not report them.
        cached: Original tokens and seconds of an answer from the cache, whose `usage` is zero.
        started: When the call began, in seconds since 1970.
        seconds: Wall time of the call.
        finish_reason: Finish reason as the provider reports it: `stop`, `length`, …
        turn_id: Id of the message that the proposal answers.
        attempt_id: Id of the attempt, which distinguishes repeated failures of an agent.
        dropped_messages: Messages of earlier turns that `trim_history` left out of the prompt;
            absent if none.
        refused_prompt: Data of a prompt that the model refused because of its length; absent if
            there was none.
        error_type: Class of the failure: the HTTP status (`"429"`), or the name of the exception;
            absent if there is an answer.
        partial_content: Partial text of an answer that ended in an error or too early. No agent
            reads it as a reference.
        may_be_billed: Whether a failed or hedged call may have cost an unknown number of tokens.
        served_model: Model that answered, as the provider reports it (`model_name`); absent if it
            does not.
        joint_samples: Number of samples in the same request, with `Agent(joint_samples=True)`.
            `usage` is then a share of its tokens, and the first sample has those of the prompt.
            Absent for a single one.
        hedged: Whether the request was sent a second time because of `hedge`; absent if it was not.
        reasoning: Reasoning of the model, with `include_reasoning`, if the provider returns it.
        references_read: Nodes of the proposals that the agent read, in order, if they were drawn at
            random; absent if it read all in configured order.
        references_seed: Seed of the draw of `references_read`.
        edited: The `attempt_id` of the answer whose text a person replaced on the page of
            `moa serve`. If it equals the `attempt_id` of the proposal, the text is that person's.
    """

    layer: int
    agent: str
    model: str
    content: str
    error: str | None
    truncated_chars: int
    dropped_reference_chars: int
    usage: dict[str, Any] | None
    cached: OriginalCallStats | None
    started: float
    seconds: float
    finish_reason: str | None
    turn_id: str
    attempt_id: str
    dropped_messages: NotRequired[int]
    refused_prompt: NotRequired[RefusedPrompt]
    error_type: NotRequired[str]
    partial_content: NotRequired[str]
    may_be_billed: NotRequired[bool]
    served_model: NotRequired[str]
    joint_samples: NotRequired[int]
    hedged: NotRequired[bool]
    reasoning: NotRequired[str]
    references_read: NotRequired[list[str]]
    references_seed: NotRequired[str]
    edited: NotRequired[str]


def awaits_retry(proposal: Proposal) -> bool:
    """Return whether a proposal is marked so that its proposer is called again."""
    return is_retry_mark(proposal["error"])


def is_retry_mark(error: str | None) -> bool:
    """Return whether the `error` of a proposal says that its proposer is called again."""
    return error is not None and (error == RETRY or error.startswith(_RETRY_AFTER))


def read_retry_cause(mark: str) -> str | None:
    """Return the earlier failure of a proposer to call again; `None` if a person marked it."""
    return mark.removeprefix(_RETRY_AFTER) if mark.startswith(_RETRY_AFTER) else None


def retry_mark_update(proposal: Proposal) -> dict[str, Any]:
    """Return the update that marks a failed proposal; its cause stays readable."""
    error = proposal["error"]
    return {"error": error if awaits_retry(proposal) else f"{_RETRY_AFTER}{error}"}


def merge_proposals(
    old: dict[str, Proposal], new: dict[str, Proposal | None]
) -> dict[str, Proposal]:
    """Merge proposals of nodes; proposals of an earlier turn are removed.

    A turn is identified by the id of the message that it answers. So a later turn on the same
    thread never mixes with old proposals, even if the graph has changed.

    Args:
        old: Proposals so far, keyed by node, with present keys.
        new: Proposals to merge, keyed by node. Through `update_state` a person may give only
            the fields that change, `None` to drop a proposal, or the error `RETRY` to have
            its proposer called again.

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
    """Merge the proposals of several nodes in sequence."""
    return reduce(merge_proposals, writes, old)


class ProposalsChannel(DeltaChannel[dict[str, Proposal]]):
    """Channel of the proposals; renames the keys of proposals stored by earlier versions."""

    def update(self, values: Sequence[Any]) -> bool:
        """Merge the writes of a superstep.

        Raises:
            InvalidUpdateError: If an edit names a proposal that does not exist, or a field that
                proposals do not have, or if two nodes wrote different proposals under one name, as
                two parallel mixtures do whose agents have the same names.
        """
        for value in values:
            _check_fields(value)
        _check_nodes(values, self.value if self.is_available() else ())
        if len(values) > 1:
            _check_single_writers(values)
        return super().update(values)

    def from_checkpoint(self, checkpoint: Any) -> Self:
        """Restore the proposals of a checkpoint before writes are replayed."""
        channel = super().from_checkpoint(checkpoint)
        channel.value = {node: translate_proposal(p) for node, p in channel.value.items()}
        return channel


def _check_fields(write: Any) -> None:
    """Reject an edit that would have no effect."""
    for node, proposal in write.items() if isinstance(write, dict) else ():
        if proposal is None or node == _OVERWRITE:
            continue
        if not isinstance(proposal, dict):
            raise InvalidUpdateError(
                f"`proposals`: {node!r}: expected the fields that change, such as "
                f"{{'content': '...'}}, or None to drop the proposal; got {proposal!r}"
            )
        fields = Proposal.__annotations__
        if unknown := [key for key in translate_proposal(proposal) if key not in fields]:
            raise InvalidUpdateError(
                f"`proposals`: {node!r}: unknown field {unknown[0]!r}; expected one of: "
                f"{', '.join(fields)}"
            )


def _check_nodes(writes: Sequence[Any], existing: Iterable[str]) -> None:
    """Reject an edit of a proposal that does not exist: only proposers write new ones."""
    proposals = [
        (node, proposal)
        for write in writes
        if isinstance(write, dict)
        for node, proposal in write.items()
        if node != _OVERWRITE
    ]
    nodes = [
        *existing,
        *(node for node, p in proposals if p and "turn_id" in translate_proposal(p)),
    ]
    for node, _ in proposals:
        if node not in nodes:
            raise InvalidUpdateError(
                f"`proposals`: {node!r}: there is no such proposal; expected one of: "
                f"{', '.join(nodes) or 'none yet'}"
            )


def _check_single_writers(writes: Sequence[Any]) -> None:
    attempts = dict[tuple[str, str], str]()
    for write in writes:
        for node, proposal in write.items() if isinstance(write, dict) else ():
            if not (proposal and proposal.get("attempt_id") and proposal.get("turn_id")):
                continue  # an edit by a person
            attempt = proposal["attempt_id"]
            if attempts.setdefault((node, proposal["turn_id"]), attempt) != attempt:
                raise InvalidUpdateError(
                    f"`proposals`: two mixtures that run side by side in a host with `MoAState` "
                    f"both wrote {node!r}; give their agents different names, or give the host a "
                    "schema without `proposals`, such as `MessagesState`"
                )


class StoredAnalysis(Analysis):
    """An analysis and the turn that it belongs to.

    Attributes:
        turn_id: Id of the answered message.
    """

    turn_id: NotRequired[str]


class MoAState(MessagesState):
    """State of a mixture: the conversation, and the proposals for its last message.

    Attributes:
        proposals: Proposals of the present turn, keyed by node name (`layer_<k>_<agent>`), and
            outputs of nodes that help the aggregator (`window_<k>`).
        analysis: Comparison of the proposals, with `analysis`; `None` if it could not be parsed.
    """

    proposals: Annotated[
        dict[str, Proposal], ProposalsChannel(merge_writes, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]

    analysis: NotRequired[StoredAnalysis | None]


class LayerState(MoAState):
    """State of the nodes, with private channels that are not part of the graph's output."""

    references: NotRequired[ReferencesChannel]
    """Templated proposals of the layer before; see `moa_graph.graph.references`."""
    model_limits: NotRequired[dict[str, ModelLimits]]
    """Prompt limits of the next layer's agents, by node, so that a resumed layer truncates
    references as before."""
    depth: NotRequired[dict[str, DepthDecision]]
    """Depth decisions of the turn, by node; see `moa_graph.graph.depth`."""
    is_retry: NotRequired[Annotated[bool, EphemeralValue(bool)]]
    """Whether a layer aggregator has just sent proposers of its layer back to be called again. It
    is valid for one superstep."""
