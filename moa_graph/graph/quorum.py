"""Where the quorum of a layer is decided: it goes on, asks failed proposers again, or gives up.

`nodes_to_retry` is the decision, which the layer aggregator (`graph/aggregator.py`) asks for;
`has_quorum` counts the answers, and `LayerPolicy` in `graph/policy.py` says how many are required.

A failure is reported once. The layer aggregator that lacks its quorum reports failures that
happened in this process a moment ago; those that it finds in the state because someone resumed the
thread, here or elsewhere, it has asked again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from moa_graph.errors import MoAError
from moa_graph.graph.error_causes import error_with_causes, free_frames, reduce_error
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.state import Proposal, awaits_retry

_unreported: dict[str, Exception] = {}
_MAX_UNREPORTED = 10_000  # runs that never reach their layer aggregator leave theirs behind


class QuorumError(MoAError):
    """Too few proposers of a layer answered.

    Where all failures share a type, such as LangChain's `ContextOverflowError`, the error has it
    too, and its `__cause__` is the first of them.

    `invoke(None, config)` on the same thread asks again those that failed, and nobody else.
    """

    layer: int
    """Number of the layer, from 1."""
    failures: dict[str, str]
    """Cause of each failure, keyed by node."""

    def __init__(self, layer: int, failures: Mapping[str, str], asked: int, needed: int) -> None:
        self.layer, self._proposer_count, self._required_answers = layer, asked, needed
        self.failures = dict(failures)
        causes = "; ".join(f"{node}: {cause}" for node, cause in self.failures.items())
        Exception.__init__(  # no other type's, which may want more
            self,
            f"layer {layer}: {asked - len(failures)} of {asked} proposers answered, "
            f"{needed} must: {causes or 'all were dropped'}",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(
            self,
            QuorumError,
            *(self.layer, self.failures, self._proposer_count, self._required_answers),
        )


def record_unreported_failure(attempt_id: str, error: Exception) -> None:
    """Note a failure that nobody has been told of."""
    _unreported[attempt_id] = free_frames(error)
    while len(_unreported) > _MAX_UNREPORTED:
        _unreported.pop(next(iter(_unreported)), None)


def nodes_marked_for_retry(proposals: Mapping[str, Proposal]) -> Sequence[str]:
    """Give the nodes whose proposals are marked to be asked for again."""
    return [node for node, proposal in proposals.items() if awaits_retry(proposal)]


def has_quorum(proposals: Mapping[str, Proposal], policy: LayerPolicy) -> bool:
    """Tell whether enough of a layer's proposers have answered."""
    answered = sum(not proposal["error"] for proposal in proposals.values())
    return answered >= policy.required_answers(len(proposals))


def nodes_to_retry(
    layer: int, proposals: Mapping[str, Proposal], policy: LayerPolicy
) -> Sequence[str]:
    """Decide whether a layer goes on.

    Args:
        layer: Number of the layer.
        proposals: What its proposers wrote, keyed by node; those that a human dropped are not
            among them.
        policy: What the layer needs.

    Returns:
        The nodes to ask again; none where the layer goes on.

    Raises:
        QuorumError: If the layer lacks its quorum and nobody has been told so far.
    """
    if marked := nodes_marked_for_retry(proposals):
        return marked
    failed = {node: p["error"] for node, p in proposals.items() if p["error"]}
    errors = [_unreported.pop(proposals[node].get("attempt_id", ""), None) for node in failed]
    if has_quorum(proposals, policy):
        return ()
    if any(errors) or not failed:
        required = policy.required_answers(len(proposals))
        raise error_with_causes(errors, QuorumError, layer, failed, len(proposals), required)
    return tuple(failed)
