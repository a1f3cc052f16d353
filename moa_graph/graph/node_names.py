"""Names of nodes: build, parse and validate them.

A proposer is the node `layer_<number>_<name>`, its layer aggregator `layer_<number>_aggregator`,
and the final aggregator `aggregator`. Helper nodes run between the last layer and the aggregator:
windows (`window_<number>`), voters (`vote_<name>`) with the node `votes`, which collects the
ballots, and `analysis`. No other module builds or parses these names.
"""

import re
from collections.abc import Collection
from itertools import chain, count
from typing import Any, NamedTuple

AGGREGATOR, ROUTER = "aggregator", "router"
FULL = "full"
"""Name of the route to the layers."""
WINDOW = "window"
"""Role of a node that reads a part of the proposals before the aggregator."""

_LAYER = re.compile(r"layer_(\d+)")
VOTE = "vote"
"""Role of a node that ranks the proposals."""
VOTES = "votes"
"""Node that collects the ballots."""

ANALYSIS = "analysis"
"""Node that compares the proposals; also its role, and the state key of its result."""

DECIDER = "decider"
"""Metadata key of a router or layer aggregator: its decision model."""

_HELPER = re.compile(rf"({WINDOW})_\d+|({VOTE})_.+|({ANALYSIS})", re.DOTALL)
_LAYER_NODE = re.compile(r"layer_(\d+)_(.+)", re.DOTALL)


class LayerNodeName(NamedTuple):
    """The parts of the name of a node in a layer."""

    layer: int
    """Number of the layer, from 1."""
    agent: str
    """Name of the proposer in its layer; `aggregator` for the layer aggregator."""

    @property
    def is_layer_aggregator(self) -> bool:
        """Whether the node is the layer's aggregator, not a proposer."""
        return self.agent == AGGREGATOR


def layer_name(layer: int) -> str:
    """Return the name of a layer: `layer_2`."""
    return f"layer_{layer}"


def parse_layer_name(name: str) -> int | None:
    """Return the number of a layer from its name; `None` if it is not one."""
    match = _LAYER.fullmatch(name)
    return int(match[1]) if match else None


def proposer_node_name(layer: int, agent: str) -> str:
    """Return the node name of a proposer: `layer_2_qwen`."""
    return f"{layer_name(layer)}_{agent}"


def layer_aggregator_name(layer: int) -> str:
    """Return the node name of a layer aggregator: `layer_2_aggregator`."""
    return proposer_node_name(layer, AGGREGATOR)


def route_node_name(route: str) -> str:
    """Return the node name of an agent that answers instead of the layers: `route_easy`."""
    return f"route_{route}"


def parse_node_name(node: str) -> LayerNodeName | None:
    """Parse the name of a node in a layer; `None` for other nodes, such as the aggregator."""
    match = _LAYER_NODE.fullmatch(node)
    return LayerNodeName(int(match[1]), match[2]) if match else None


def window_name(number: int) -> str:
    """Return the node name of a window: `window_1`."""
    return f"{WINDOW}_{number}"


def parse_helper_role(node: str) -> str | None:
    """Return the role of a helper node from its name; `None` for all other nodes."""
    match = _HELPER.fullmatch(node)
    return next(filter(None, match.groups()), None) if match else None


def vote_name(voter: str) -> str:
    """Return the node name of a voter: `vote_qwen`."""
    return f"{VOTE}_{voter}"


def check_agent_name(name: Any) -> str:
    """Reject a name that is invalid in LangGraph or ambiguous in the graph.

    Raises:
        ValueError: If the name is rejected.
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


def make_unique_name(base: str, names: Collection[Any]) -> str:
    """Append `_2` or a higher number if a name is already used."""
    candidates = chain([base], (f"{base}_{number}" for number in count(2)))
    return next(name for name in candidates if name not in names)
