"""`LayerPolicy`: quorum, grace and deadline of a layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerPolicy:
    """Quorum and time limits of a layer."""

    quorum: float
    """Required answers: a number (`int`), or a share of the layer (`float`)."""
    grace: float | None = None
    """Extra seconds for slow proposers once the quorum has answered; `None`: wait for all."""
    deadline: float | None = None
    """Seconds that a layer may take; `None` for no limit."""
    ends_without_quorum: bool = False
    """Whether the graph ends without a quorum, instead of raising an error."""

    @property
    def has_no_cutoff(self) -> bool:
        """Whether the layer has no time limit."""
        return self.grace is None and self.deadline is None

    def required_answers(self, proposer_count: int) -> int:
        """Return the number of required answers among the called proposers: at least one."""
        count = (
            self.quorum if isinstance(self.quorum, int) else math.ceil(self.quorum * proposer_count)
        )
        return max(1, min(int(count), proposer_count))


def policies_for_layers(
    widths: Sequence[int],
    quorum: float | Sequence[float],
    grace: float | Sequence[float | None] | None,
    deadline: float | Sequence[float | None] | None,
) -> list[LayerPolicy]:
    """Return the policy of each layer.

    Args:
        widths: Number of proposers of each layer.
        quorum: One value for all layers, or one for each.
        grace: Likewise.
        deadline: Likewise.

    Raises:
        ValueError: If the number of values is not that of the layers, or a value is invalid.
    """
    columns = [
        _expand_to_layers("quorum", quorum, len(widths)),
        _expand_to_layers("grace", grace, len(widths)),
        _expand_to_layers("deadline", deadline, len(widths)),
    ]
    policies = [LayerPolicy(*row) for row in zip(*columns, strict=True)]
    for width, policy in zip(widths, policies, strict=True):
        _check_policy(policy, width)
    return policies


def _expand_to_layers(name: str, value: object, layers: int) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        return [value] * layers
    if len(value) != layers:
        raise ValueError(
            f"`{name}`={value!r}: expected one value, or one for each of {layers} layers"
        )
    return value


def _check_policy(policy: LayerPolicy, width: int) -> None:
    quorum = policy.quorum
    share = isinstance(quorum, float) and 0 < quorum <= 1
    number = isinstance(quorum, int) and not isinstance(quorum, bool) and 1 <= quorum <= width
    if not (share or number):
        raise ValueError(
            f"`quorum`={quorum!r}: expected a number of proposers from 1 to {width}, the size "
            "of the layer, or a share of the layer as a float above 0.0 and up to 1.0 (all)"
        )
    for name in ("grace", "deadline"):
        value = getattr(policy, name)
        if value is not None and (not isinstance(value, (int, float)) or not 0 <= value < math.inf):
            raise ValueError(f"`{name}`={value!r}: expected seconds, 0 or more, or None")
