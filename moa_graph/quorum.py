"""When a layer goes on, and when it gives up or asks again.

A failure is reported once. The hub that lacks its quorum reports failures that happened in this
process a moment ago; those that it finds in the state because someone resumed the thread, here
or elsewhere, it has asked again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moa_graph.state import ASK_AGAIN, Proposal

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

    def __init__(self, layer: int, failures: Mapping[str, str], asked: int, needed: int) -> None:
        self.layer = layer
        self.failures = dict(failures)
        causes = "; ".join(f"{node}: {cause}" for node, cause in self.failures.items())
        super().__init__(
            f"layer {layer}: {asked - len(failures)} of {asked} proposers answered, "
            f"{needed} must: {causes or 'all were dropped'}"
        )


@dataclass(frozen=True)
class Rules:
    """What a layer needs in order to go on, and how long it waits."""

    quorum: float
    """How many must answer: a number if an `int`, a share of the layer if a `float`."""
    grace: float | None = None
    """Seconds that stragglers get when the quorum is in; `None` waits for all."""
    deadline: float | None = None
    """Seconds that a layer may take; `None` for any time."""

    def needed(self, asked: int) -> int:
        """How many of those that were asked must answer: at least one."""
        count = self.quorum if isinstance(self.quorum, int) else math.ceil(self.quorum * asked)
        return max(1, min(int(count), asked))


def rules_of_layers(
    widths: Sequence[int],
    quorum: float | Sequence[float],
    grace: float | Sequence[float | None] | None,
    deadline: float | Sequence[float | None] | None,
) -> list[Rules]:
    """Give each layer its rules.

    Args:
        widths: How many proposers each layer has.
        quorum: One value for all layers, or one for each.
        grace: Likewise.
        deadline: Likewise.

    Raises:
        ValueError: If there are not as many values as layers, or a value makes no sense.
    """
    columns = [
        _for_each("quorum", quorum, len(widths)),
        _for_each("grace", grace, len(widths)),
        _for_each("deadline", deadline, len(widths)),
    ]
    rules = [Rules(*row) for row in zip(*columns, strict=True)]
    for width, rule in zip(widths, rules, strict=True):
        _check(rule, width)
    return rules


def remember(attempt: str) -> None:
    """Note the id of a failure that nobody has been told of."""
    _unreported[attempt] = None
    while len(_unreported) > _MOST_UNREPORTED:
        _unreported.pop(next(iter(_unreported)), None)


def nodes_to_ask_again(
    layer: int, proposals: Mapping[str, Proposal], rules: Rules
) -> Sequence[str]:
    """Decide whether a layer goes on.

    Args:
        layer: Number of the layer.
        proposals: What its proposers wrote, keyed by node; those that a human dropped are not
            among them.
        rules: What the layer needs.

    Returns:
        The nodes to ask again; none where the layer goes on.

    Raises:
        QuorumError: If the layer lacks its quorum and nobody has been told so far.
    """
    failed = {node: p["error"] for node, p in proposals.items() if p["error"]}
    if wanted := [node for node, cause in failed.items() if cause == ASK_AGAIN]:
        return wanted
    attempts = [proposals[node].get("id", "") for node in failed]
    unreported = [attempt for attempt in attempts if _unreported.pop(attempt, 0) is None]
    needed = rules.needed(len(proposals))
    if len(proposals) - len(failed) >= needed:
        return ()
    if unreported or not failed:
        raise QuorumError(layer, failed, len(proposals), needed)
    return tuple(failed)


def _for_each(name: str, value: object, layers: int) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        return [value] * layers
    if len(value) != layers:
        raise ValueError(
            f"`{name}`={value!r}: expected one value, or one for each of {layers} layers"
        )
    return value


def _check(rules: Rules, width: int) -> None:
    quorum = rules.quorum
    share = isinstance(quorum, float) and 0 < quorum <= 1
    number = isinstance(quorum, int) and not isinstance(quorum, bool) and 1 <= quorum <= width
    if not (share or number):
        raise ValueError(
            f"`quorum`={quorum!r}: expected a number from 1 to {width}, the proposers of the "
            "layer, or a share of them above 0.0 and up to 1.0"
        )
    for name in ("grace", "deadline"):
        value = getattr(rules, name)
        if value is not None and (not isinstance(value, (int, float)) or not 0 <= value < math.inf):
            raise ValueError(f"`{name}`={value!r}: expected seconds, 0 or more, or None")
