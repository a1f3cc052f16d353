"""`ForkPoint`: the first node to run again, and the reused proposals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from moa_graph.graph.builder import MoAGraph
from moa_graph.graph.depth import is_effective, reuse_decisions
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import (
    AGGREGATOR,
    ANALYSIS,
    ROUTER,
    VOTE,
    VOTES,
    layer_aggregator_name,
    layer_name,
    parse_helper_role,
    parse_layer_name,
)
from moa_graph.graph.state import RETRY

Update = dict[str, Any]


def can_be_fork_point(name: str) -> bool:
    """Return whether a name is valid for the first part to run again."""
    is_named = name in {AGGREGATOR, ROUTER, VOTES} or parse_helper_role(name) is not None
    return is_named or parse_layer_name(name) is not None


@dataclass(frozen=True)
class ForkPoint:
    """The first part of a mixture that a fork runs again."""

    spec: GraphSpec
    name: str
    """`router`, `layer_2`, `window_1`, `votes`, `vote_a`, `analysis` or `aggregator`."""

    @classmethod
    def parse(cls, name: str, graph: MoAGraph) -> Self:
        """Return the part of a mixture with this name.

        Raises:
            LookupError: If there is none; the message lists the names.
        """
        spec = graph.spec
        router = [ROUTER] if spec.router else []
        layers = [layer_name(each.number) for each in spec.layers]
        voters = spec.vote.nodes if spec.vote else []
        names = [*router, *layers, *voters, *_name_stages(spec)]
        if name not in names:
            raise LookupError(f"no layer {name!r}; expected one of: {', '.join(names)}")
        return cls(spec, name)

    @property
    def layer(self) -> int:
        """The first layer to run again; after the layers, one more than the last."""
        return 1 if self.name == ROUTER else parse_layer_name(self.name) or self._behind_layers

    @property
    def asks_all(self) -> bool:
        """Whether no proposal is reused, so that the question is asked as a new one."""
        return self.name == ROUTER or (self.layer == 1 and not self.spec.router)

    @property
    def stages(self) -> Sequence[str]:
        """The stages after the layers that run again."""
        stages = _name_stages(self.spec)
        if self.layer < self._behind_layers:
            return stages
        return stages[stages.index(self._stage) :]

    def find_last_layer(self, values: Mapping[str, Any]) -> int:
        """Return the layer before it, or the one after which the aggregator stopped early."""
        last_called = max(
            (p["layer"] for n, p in values["proposals"].items() if _in_layer(n)), default=0
        )
        decision = (values.get("depth") or {}).get(layer_aggregator_name(last_called))
        is_early = self.name == AGGREGATOR and last_called and is_effective(decision)
        return last_called if is_early else self.layer - 1

    def take_over(self, proposals: Mapping[str, Any]) -> Update:
        """Return the proposals to reuse; a voter to call again is marked for a retry."""
        remaining = {node: p for node, p in proposals.items() if self._stands_before(node, p)}
        if self._is_voter and self.name in proposals:
            remaining[self.name] = {**proposals[self.name], "error": RETRY}
        return remaining

    def find_way(self, values: Mapping[str, Any]) -> tuple[str, Update]:
        """Return the node after which the graph continues, and further writes of that node.

        If a router or layer aggregator would decide whether the layer runs, the user has decided.
        """
        if self._is_voter:
            return self.name, {}
        if self.layer == 1:
            return ROUTER, _decide_for_layer(ROUTER, 1)
        if (last := self.find_last_layer(values)) < self.layer - 1:
            node = layer_aggregator_name(last)
            return node, {"depth": reuse_decisions({node: values["depth"][node]})}
        if self.layer == self._behind_layers:
            return self._find_way_behind_layers(values)
        if not self.spec.depth_policy.is_active:
            return self._find_proposer(), {}
        node = layer_aggregator_name(self.layer - 1)
        return node, _decide_for_layer(node, self.layer)

    def _find_way_behind_layers(self, values: Mapping[str, Any]) -> tuple[str, Update]:
        stages = _name_stages(self.spec)
        before = stages[stages.index(self._stage) - 1] if self._stage != stages[0] else None
        if before is None:
            return self._find_proposer(), {}
        if before == VOTES:
            assert self.spec.vote  # noqa: S101  # mypy
            return self.spec.vote.nodes[0], {}
        return before, {"analysis": values.get("analysis")} if before == ANALYSIS else {}

    def _find_proposer(self) -> str:
        """Return a node that the layer aggregator before it follows."""
        return self.spec.layers[self.layer - 2].agent_nodes[0].node

    def _stands_before(self, node: str, proposal: Mapping[str, Any]) -> bool:
        if _in_layer(node):
            return bool(proposal["layer"] < self.layer)
        if self._is_voter and parse_helper_role(node) == VOTE:
            return True
        stage, stages = _find_stage(node), _name_stages(self.spec)
        return stage in stages and stage not in self.stages

    @property
    def _behind_layers(self) -> int:
        return len(self.spec.layers) + 1

    @property
    def _is_voter(self) -> bool:
        return self.spec.vote is not None and self.name in self.spec.vote.nodes

    @property
    def _stage(self) -> str:
        return _find_stage(self.name)


def fork_point_in(graph: Any, name: str) -> ForkPoint:
    """Return the fork point of a compiled mixture by its name."""
    return ForkPoint(cast("MoAGraph", graph.builder).spec, name)


def _name_stages(spec: GraphSpec) -> list[str]:
    """Return the stages after the layers, in order; voters run together."""
    voted = [VOTES] if spec.vote else []
    helpers = [node for node in spec.helper_nodes if parse_helper_role(node) != VOTE]
    return [*voted, *helpers, AGGREGATOR]


def _find_stage(node: str) -> str:
    return VOTES if parse_helper_role(node) == VOTE else node


def _in_layer(node: str) -> bool:
    return parse_helper_role(node) is None


def _decide_for_layer(node: str, layer: int) -> Update:
    return {"depth": {node: {"stop": False, "why": f"{layer_name(layer)} was requested"}}}
