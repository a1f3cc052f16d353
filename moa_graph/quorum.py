"""When a layer goes on, and when it gives up or asks again.

A failure is reported once. The hub that lacks its quorum reports failures that happened in this
process a moment ago; those that it finds in the state because someone resumed the thread, here
or elsewhere, it has asked again.
"""

from collections.abc import Mapping, Sequence

from moa_graph.state import Proposal

_unreported: dict[str, None] = {}
_MOST_UNREPORTED = 10_000  # runs that never reach their hub leave theirs behind


class QuorumError(RuntimeError):
    """Too few proposers of a layer answered.

    `invoke(None, config)` on the same thread asks again those that failed, and nobody else.
    """

    layer: int
    """Number of the layer, from 1."""
    failures: dict[str, str]
    """Cause of each failure, keyed by node."""

    def __init__(self, layer: int, failures: Mapping[str, str], asked: int) -> None:
        self.layer = layer
        self.failures = dict(failures)
        causes = "; ".join(f"{node}: {cause}" for node, cause in self.failures.items())
        super().__init__(
            f"layer {layer}: {asked - len(failures)} of {asked} proposers answered, "
            f"at least 1 must: {causes}"
        )


def remember(attempt: str) -> None:
    """Note the id of a failure that nobody has been told of."""
    _unreported[attempt] = None
    while len(_unreported) > _MOST_UNREPORTED:
        _unreported.pop(next(iter(_unreported)), None)


def failed_to_ask_again(layer: int, proposals: Mapping[str, Proposal]) -> Sequence[str]:
    """Decide whether a layer goes on.

    Args:
        layer: Number of the layer.
        proposals: What its proposers wrote, keyed by node.

    Returns:
        The nodes to ask again; none where the layer goes on.

    Raises:
        QuorumError: If the layer lacks its quorum and nobody has been told so far.
    """
    failed = {node: p for node, p in proposals.items() if p["error"]}
    unreported = [p["id"] for p in failed.values() if _unreported.pop(p["id"], 0) is None]
    if len(failed) < len(proposals):
        return ()
    if unreported or not failed:
        causes = {node: p["error"] or "" for node, p in failed.items()}
        raise QuorumError(layer, causes, len(proposals))
    return tuple(failed)
