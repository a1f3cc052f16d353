"""Sequential aggregation in windows (Li et al. 2025, arXiv 2502.00674).

Each window except the last is a node, in which the aggregator or a fallback writes an intermediate
answer from some proposals and the answer of the window before. The intermediate answer is stored
with the proposals of the turn. The aggregator itself reads the last window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moa_graph.graph.model_builder import ModelsOf, build_own_models
from moa_graph.graph.node_names import WINDOW, window_name
from moa_graph.graph.reference_selection import (
    DrawnReferences,
    ReferenceSelector,
    answered_nodes,
    find_seed,
    shuffle,
)
from moa_graph.graph.spec import AgentNode
from moa_graph.prompting.layout import PromptLayout


@dataclass(frozen=True)
class WindowSelector(ReferenceSelector):
    """Selects references for a window: the intermediate answer, and then some proposals."""

    start: int = 0
    """Number of proposals in earlier windows."""
    size: int | None = None
    """Number of proposals in the window; `None` for all that are left."""
    earlier_windows: Sequence[str] = ()
    """Nodes of the earlier windows, last one first."""

    def draw(self, reader: str, nodes: Sequence[str], state: Mapping[str, Any]) -> DrawnReferences:
        """Return the intermediate answer, if there is one, and the proposals of the window."""
        seed = None
        if self.is_shuffled:
            nodes = shuffle(nodes, seed := find_seed(WINDOW, answered_nodes(nodes, state), state))
        stop = None if self.size is None else self.start + self.size
        share = answered_nodes(nodes[self.start : stop], state)
        so_far = answered_nodes(self.earlier_windows, state)[:1]
        return DrawnReferences([*so_far, *share], seed)

    def choose_layout(self, layout: PromptLayout, draw: DrawnReferences | None) -> PromptLayout:
        """Return the layout, with a note if the first reference is the intermediate answer."""
        has_answer = draw and draw.nodes and draw.nodes[0] in self.earlier_windows
        return layout.for_answer_so_far() if has_answer else layout


@dataclass(frozen=True)
class Window:
    """A window and the agents that may read it."""

    node: str
    writers: Sequence[AgentNode]
    """The aggregator and its fallbacks."""


def split_into_windows(
    last_layer: Sequence[AgentNode], aggregators: Sequence[AgentNode], size: int
) -> tuple[list[Window], list[AgentNode]]:
    """Split the proposals of the last layer into windows.

    Args:
        last_layer: The proposers.
        aggregators: The aggregator and its fallbacks.
        size: Number of proposals in a window.

    Returns:
        All windows except the last, and the aggregators, which read the last one.
    """
    layer = last_layer[-1].layer
    count = max(0, -(-len(last_layer) // size) - 1)
    nodes = [window_name(number) for number in range(1, count + 1)]
    hidden = [replace(each, hide_tokens=last_layer[0].hide_tokens) for each in aggregators]
    build_models = build_own_models(hidden)
    windows = [
        Window(
            node,
            [
                replace(
                    each,
                    node=node if each is hidden[0] else each.node,
                    name=f"{each.name} of {node}",
                    layer=layer + 1 + index,
                    selector=_window_selector(each, index * size, size, nodes[:index]),
                    build_models=ModelsOf(build_models, each.node, node)
                    if each is hidden[0]
                    else build_models,
                )
                for each in hidden
            ],
        )
        for index, node in enumerate(nodes)
    ]
    return windows, [
        replace(
            each,
            layer=layer + 1 + count,
            selector=_window_selector(each, count * size, None, nodes),
        )
        for each in aggregators
    ]


def _window_selector(
    writer: AgentNode, start: int, size: int | None, earlier: Sequence[str]
) -> WindowSelector:
    return WindowSelector(
        is_shuffled=writer.selector.is_shuffled,
        start=start,
        size=size,
        earlier_windows=tuple(reversed(earlier)),
    )


def check_window_size(size: Any) -> int:
    """Check the option `references_per_window`.

    Raises:
        ValueError: If it is not a whole number above 0.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"`references_per_window`={size!r}: expected a whole number above 0")
    return size
