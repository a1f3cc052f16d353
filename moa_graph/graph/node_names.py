"""Names of nodes: how they are made and read, and which names agents may have.

A proposer is the node `layer_<number>_<name>`, the layer aggregator the node
`layer_<number>_aggregator`, and the aggregator at the end the node `aggregator`. No other module
spells or parses these names.
"""

import re
from collections.abc import Collection
from itertools import chain, count
from typing import Any, NamedTuple

AGGREGATOR = "aggregator"

_LAYER = re.compile(r"layer_(\d+)")
_LAYER_NODE = re.compile(r"layer_(\d+)_(.+)", re.DOTALL)


class LayerNodeName(NamedTuple):
    """What the name of a node in a layer says."""

    layer: int
    """Number of the layer, from 1."""
    agent: str
    """Name of the proposer in its layer; `aggregator` for the layer aggregator."""

    @property
    def is_layer_aggregator(self) -> bool:
        """Whether the node is the layer's aggregator, not a proposer."""
        return self.agent == AGGREGATOR


def layer_name(layer: int) -> str:
    """Name a layer: `layer_2`."""
    return f"layer_{layer}"


def parse_layer_name(name: str) -> int | None:
    """Read the number of a layer from its name; `None` if it is not one."""
    match = _LAYER.fullmatch(name)
    return int(match[1]) if match else None


def proposer_node_name(layer: int, agent: str) -> str:
    """Name the node of a proposer: `layer_2_qwen`."""
    return f"{layer_name(layer)}_{agent}"


def layer_aggregator_name(layer: int) -> str:
    """Name the node that gathers the proposals of a layer: `layer_2_aggregator`."""
    return proposer_node_name(layer, AGGREGATOR)


def parse_node_name(node: str) -> LayerNodeName | None:
    """Read the name of a node in a layer; `None` for other nodes, such as the aggregator."""
    match = _LAYER_NODE.fullmatch(node)
    return LayerNodeName(int(match[1]), match[2]) if match else None


def check_agent_name(name: Any) -> str:
    """Refuse a name that LangGraph, or the graph itself, could not keep apart from others.

    Raises:
        ValueError: If it is refused.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[^\s:|](?:[^:|\n\r]*[^\s:|])?", name):
        raise ValueError(f"expected a name without ':', '|' and line breaks, got {name!r}")
    if name == AGGREGATOR:
        raise ValueError(f"{name!r} is the name of the layer aggregator; expected another name")
    return str(name)


def slugify_label(label: str) -> str:
    """Shorten `together:Qwen/Qwen2.5-72B` to `qwen2.5-72b`."""
    name = label.partition(":")[2] or label
    short = re.sub(r"[^\w.-]+", "-", name.rpartition("/")[2]).strip("-").lower()
    return "model" if short in {"", AGGREGATOR} else short


def make_unique_name(base: str, taken: Collection[Any]) -> str:
    """Number a name from `_2` on where it is taken."""
    candidates = chain([base], (f"{base}_{number}" for number in count(2)))
    return next(name for name in candidates if name not in taken)
