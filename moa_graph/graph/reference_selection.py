"""Select and order the proposals that an agent reads.

By default an agent reads all proposals of the layer before, in configured order. A random draw
depends only on the question of the turn and the reader's node, so that a resumed or repeated run
draws the same proposals. The state records the seed and the drawn nodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from moa_graph.prompting.layout import PromptLayout


class DrawnReferences(NamedTuple):
    """The proposals drawn for a reader."""

    nodes: Sequence[str]
    """Nodes of the proposals, in the order of the prompt."""
    seed: str | None
    """Seed of the draw; `None` if nothing was random."""

    def to_record(self) -> dict[str, Any]:
        """Return the fields to store."""
        record: dict[str, Any] = {"references_read": list(self.nodes)}
        return record | ({"references_seed": self.seed} if self.seed else {})


@dataclass(frozen=True)
class ReferenceSelector:
    """Selects and orders the proposals that an agent reads, by default all of them."""

    limit: int | None = None
    """Number of proposals to draw for each reader; `None` for all."""
    is_shuffled: bool = False
    """Whether each reader gets a random order."""
    replaces = False
    """Whether an analysis replaces the proposals, if there is one."""

    @property
    def is_drawn(self) -> bool:
        """Whether a selection or order is drawn, so that not all are read in configured order."""
        return self.limit is not None or self.is_shuffled

    def draw(
        self, reader: str, nodes: Sequence[str], state: Mapping[str, Any]
    ) -> DrawnReferences | None:
        """Draw the proposals of a reader; `None` if it reads all in configured order.

        Args:
            reader: Node of the reader.
            nodes: Nodes whose proposals it may read, in configured order.
            state: State of the graph.
        """
        if not self.is_drawn:
            return None
        answered = answered_nodes(nodes, state)
        seed = find_seed(reader, answered, state)
        nodes_drawn = shuffle(answered, seed)[: self.limit]
        return DrawnReferences(
            nodes_drawn if self.is_shuffled else sorted(nodes_drawn, key=answered.index), seed
        )

    @property
    def of_whole_layer(self) -> "ReferenceSelector":
        """The same order for all proposals of another layer, without an analysis."""
        return ReferenceSelector(is_shuffled=self.is_shuffled)

    def find_analysis(self, nodes: Sequence[str], state: Mapping[str, Any]) -> str:
        """Return the text of the analysis to read; empty if there is none."""
        return ""

    def choose_layout(self, layout: PromptLayout, draw: DrawnReferences | None) -> PromptLayout:
        """Return the layout of the references."""
        return layout


ALL_REFERENCES = ReferenceSelector()


def answered_nodes(nodes: Sequence[str], state: Mapping[str, Any]) -> list[str]:
    """Return the nodes that have an answer in the state."""
    proposals = state.get("proposals") or {}
    return [node for node in nodes if (p := proposals.get(node)) and not p["error"]]


def shuffle(nodes: Sequence[str], seed: str) -> list[str]:
    """Order nodes by a seed; leaving one out does not change the order of the others."""
    return sorted(nodes, key=lambda node: _hash_texts(seed, node))


def find_seed(reader: str, nodes: Sequence[str], state: Mapping[str, Any]) -> str:
    """Return the seed of a reader, from its node and the question of the turn."""
    turn_id = state["proposals"][nodes[0]]["turn_id"] if nodes else ""
    question = next((m.text for m in state["messages"] if m.id == turn_id), turn_id)
    return _hash_texts(reader, question)[:16]


def _hash_texts(*texts: str) -> str:
    return sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def check_reader_options(references_per_reader: Any, order: Any) -> None:
    """Check `references_per_reader` and `order`.

    Raises:
        ValueError: If one is invalid.
    """
    limit = references_per_reader
    is_number = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
    if limit is not None and not is_number:
        raise ValueError(
            f"`references_per_reader`={limit!r}: expected a whole number above 0, or None"
        )
    if order not in {"configured", "shuffled"}:
        raise ValueError(f"`order`={order!r}: expected 'configured' or 'shuffled'")
