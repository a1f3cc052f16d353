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
        before, width = name.layer - 1, self._widths[name.layer - 1]
        self._done[before] = min(self._done[before] + 1, width)
        done = self._done[before]
        return self._note(before, done, f"{self._layer(name.layer)}: {done} of {width} are done")

    def _announce_layer(self, layer: int) -> ProgressNote:
        if layer > len(self._widths):
            return self._note(len(self._widths), 0, "the aggregator writes the answer")
        asked = self._widths[layer - 1]
        return self._note(layer - 1, 0, f"{self._layer(layer)}: {asked} proposers are asked")

    def _layer(self, layer: int) -> str:
        return f"layer {layer} of {len(self._widths)}"

    def _note(self, layers: int, done: int, message: str) -> ProgressNote:
        return ProgressNote(sum(self._widths[:layers]) + done, sum(self._widths) + 1, message)
