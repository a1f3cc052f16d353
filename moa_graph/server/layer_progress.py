"""How far a run is: a line for each layer, and for each proposer that is done."""

from collections.abc import Sequence
from typing import NamedTuple

from moa_graph.graph.node_names import parse_node_name


class ProgressNote(NamedTuple):
    """How far a run is."""

    done: int
    """Agents that are done; it never falls."""
    total: int
    """Agents in all, the aggregator among them."""
    message: str


class LayerProgress:
    """Counts the agents of a run that are done."""

    def __init__(self, widths: Sequence[int]) -> None:
        """Begin with none.

        Args:
            widths: How many proposers each layer has.
        """
        self._widths, self._done = widths, [0] * len(widths)

    def begin(self) -> ProgressNote:
        """Tell that the first layer is asked."""
        return self._announce_layer(1)

    def take_node(self, node: str) -> ProgressNote:
        """Take in a node that is done, and tell how far the run is."""
        name = parse_node_name(node)
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
