"""Depth decisions of `MoAMiddleware`: early stops and budgets of the layers in a turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moa_graph.graph.depth import RunDepth, describe_depth, list_decisions
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.spec import LayerSpec


@dataclass(frozen=True)
class TurnDepth:
    """The layers that ran in a turn, and the decisions that ended them."""

    layer_specs: Sequence[LayerSpec]
    """The layers that ran; all layers if there was no decision."""
    run_depth: RunDepth | None = None
    """The entry `depth` of the `RunSummary`; `None` if there was no decision."""
    decisions: Sequence[DepthDecision] = ()
    """Decisions that a model made."""

    @property
    def usages(self) -> list[dict[str, Any]]:
        """Token usage of the decisions whose usage is known."""
        return [usage for each in self.decisions if (usage := each.get("usage"))]

    @property
    def unknown_nodes(self) -> list[str]:
        """Nodes with a model decision whose token usage is unknown."""
        return [each["node"] for each in self.decisions if not each.get("usage")]


def read_depth(state: Mapping[str, Any], layer_specs: Sequence[LayerSpec]) -> TurnDepth:
    """Read from the state how many layers ran.

    Args:
        state: `messages`, `proposals` and `depth`.
        layer_specs: The layers of the middleware.
    """
    run_depth = _describe(state, layer_specs)
    if run_depth is None:
        return TurnDepth(layer_specs)
    layers_that_ran = layer_specs[: run_depth["layers"]]
    decided = [each for _, each in list_decisions(state, layer_specs) if "model" in each]
    return TurnDepth(layers_that_ran, run_depth, decided)


def _describe(state: Mapping[str, Any], layer_specs: Sequence[LayerSpec]) -> RunDepth | None:
    """Describe the depth of the run; a lost quorum also ends the layers."""
    run_depth = describe_depth(state, layer_specs)
    reached = max((each.number for each in layer_specs if each.proposals_in(state)), default=0)  # type: ignore[arg-type]  # some of its keys
    if run_depth is None or reached >= run_depth["layers"]:
        return run_depth
    skipped = sum(len(each.agent_nodes) for each in layer_specs[reached:])
    why = f"layer {reached} lost its quorum"
    return {**run_depth, "layers": reached, "why": why, "skipped": skipped}
