"""Progress messages of a run: one for each layer and finished proposer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moa_graph.graph.depth import is_effective
from moa_graph.graph.node_names import ROUTER, VOTES, parse_helper_role, parse_node_name


class ProgressNote(NamedTuple):
    """Progress of a run."""

    done: int
    """Number of completed agents; it never decreases."""
    total: int
    """Number of agents, including the aggregator."""
    message: str


class LayerProgress:
    """Counts the completed agents of a run."""

    def __init__(self, widths: Sequence[int]) -> None:
        """Create the progress of a new run.

        Args:
            widths: Number of proposers of each layer.
        """
        self._widths, self._done = widths, [0] * len(widths)

    def begin(self) -> ProgressNote:
        """Return the note for the start of the first layer."""
        return self._announce_layer(1)

    def take_node(self, node: str, update: Any = None) -> ProgressNote:
        """Record a completed node, and return the progress.

        Args:
            node: The node.
            update: Its state update.
        """
        if (ends := _ends_layers(node, update)) or node == ROUTER:
            return self._announce_layer(len(self._widths) + 1 if ends else 1)
        name = parse_node_name(node)
        if parse_helper_role(node):
            return self._note(len(self._widths), 0, f"{node} is done")
        if node == VOTES:
            return self._note(len(self._widths), 0, "the ballots are counted")
        if name is None:
            return self._note(len(self._widths), 1, "answered")
        if name.is_layer_aggregator:
            return self._announce_layer(name.layer + 1)
        index = name.layer - 1
        self._done[index] = min(self._done[index] + 1, self._widths[index])
        return self._tell_layer(name.layer)

    def _announce_layer(self, layer: int) -> ProgressNote:
        if layer > len(self._widths):
            return self._note(len(self._widths), 0, "the aggregator writes the answer")
        return self._tell_layer(layer)

    def _tell_layer(self, layer: int) -> ProgressNote:
        done, width = self._done[layer - 1], self._widths[layer - 1]
        message = f"layer {layer} of {len(self._widths)}: {done} of {width} proposers are done"
        return self._note(layer - 1, done, message)

    def _note(self, layers: int, done: int, message: str) -> ProgressNote:
        return ProgressNote(sum(self._widths[:layers]) + done, sum(self._widths) + 1, message)


def _ends_layers(node: str, update: Any) -> bool:
    """Return whether a node has decided that no further layer runs."""
    decisions = update.get("depth", {}) if isinstance(update, Mapping) else {}
    return is_effective(decisions.get(node))
