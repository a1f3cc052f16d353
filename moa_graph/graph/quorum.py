"""Quorum of a layer: continue, call failed proposers again, or raise `QuorumError`.

`nodes_to_retry` is the decision, which the layer aggregator (`graph/layer_aggregator.py`) asks for;
`has_quorum` counts the answers, and `LayerPolicy` in `graph/policy.py` says how many are required.

A failure is reported once. A layer aggregator without a quorum reports failures that just happened
in this process. If it finds failures in the state because the thread was resumed, it has these
proposers called again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from moa_graph.errors import MoAError
from moa_graph.graph.error_causes import error_with_causes, free_frames, reduce_error
from moa_graph.graph.node_names import VOTE, parse_helper_role
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.state import Proposal, awaits_retry

_unreported: dict[str, Exception] = {}
_MAX_UNREPORTED = 10_000  # bounded, because killed runs leave entries


class QuorumError(MoAError):
    """Too few proposers of a layer answered, or too few voters.

    If all failures share an exception type, such as LangChain's `ContextOverflowError`, the error
    has it too, and its `__cause__` is the first failure.

    `invoke(None, config)` on the same thread calls only the failed proposers again.
    """

    layer: int
    """Number of the layer, from 1; for voters, one more than that of the last layer."""
    failures: dict[str, str]
    """Cause of each failure, keyed by node."""

    def __init__(self, layer: int, failures: Mapping[str, str], asked: int, needed: int) -> None:
        self.layer, self._proposer_count, self._required_answers = layer, asked, needed
        self.failures = dict(failures)
        causes = "; ".join(f"{node}: {cause}" for node, cause in self.failures.items())
        Exception.__init__(  # not that of a mixed-in type
            self,
            f"{_describe_answers(layer, failures, asked)} answered, {needed} required: "
            f"{causes or 'all were dropped'}",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(
            self,
            QuorumError,
            *(self.layer, self.failures, self._proposer_count, self._required_answers),
        )


def _describe_answers(layer: int, failures: Mapping[str, str], total: int) -> str:
    """Describe how many agents answered: `layer 1: 0 of 2 proposers`."""
    count = f"{total - len(failures)} of {total}"
    is_vote = any(parse_helper_role(node) == VOTE for node in failures)
    return f"vote: {count} voters" if is_vote else f"layer {layer}: {count} proposers"


def record_unreported_failure(attempt_id: str, error: Exception) -> None:
    """Record a failure that has not been reported yet."""
    _unreported[attempt_id] = free_frames(error)
    while len(_unreported) > _MAX_UNREPORTED:
        _unreported.pop(next(iter(_unreported)), None)


def nodes_marked_for_retry(proposals: Mapping[str, Proposal]) -> Sequence[str]:
    """Return the nodes whose proposals are marked for a retry."""
    return [node for node, proposal in proposals.items() if awaits_retry(proposal)]


def has_quorum(proposals: Mapping[str, Proposal], policy: LayerPolicy) -> bool:
    """Return whether enough proposers of a layer have answered."""
    answered = sum(not proposal["error"] for proposal in proposals.values())
    return answered >= policy.required_answers(len(proposals))


def nodes_to_retry(
    layer: int, proposals: Mapping[str, Proposal], policy: LayerPolicy
) -> Sequence[str]:
    """Decide whether a layer is complete.

    Args:
        layer: Number of the layer.
        proposals: Proposals of the layer, keyed by node, without dropped ones.
        policy: Policy of the layer.

    Returns:
        The nodes to call again; empty if the layer is complete, or the graph ends.

    Raises:
        QuorumError: If the layer lacks its quorum and this has not been reported yet.
    """
    if marked := nodes_marked_for_retry(proposals):
        return marked
    failed = {node: p["error"] for node, p in proposals.items() if p["error"]}
    errors = [_unreported.pop(proposals[node].get("attempt_id", ""), None) for node in failed]
    if has_quorum(proposals, policy):
        return ()
    if any(errors) or not failed:
        if policy.ends_without_quorum:
            return ()
        required = policy.required_answers(len(proposals))
        raise error_with_causes(errors, QuorumError, layer, failed, len(proposals), required)
    return tuple(failed)
