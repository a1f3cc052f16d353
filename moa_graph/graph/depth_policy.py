"""`DepthPolicy`: whether a further layer runs, decided after each layer."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any

from langchain_core.runnables import RunnableConfig

from moa_graph.graph.call_errors import capture_errors
from moa_graph.graph.depth import find_layer_turn_id, list_decisions
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.early_stop import Decide, StopDecision
from moa_graph.graph.failed_calls import classify_failure, describe_failure
from moa_graph.graph.node_names import layer_aggregator_name
from moa_graph.graph.run_budget import RunBudget
from moa_graph.graph.spec import LayerSpec
from moa_graph.graph.state import LayerState
from moa_graph.redaction import find_keys
from moa_graph.sync_async import Flow

_logger = logging.getLogger("moa_graph")


@dataclass(frozen=True)
class DepthPolicy:
    """Decides after each layer whether the next one runs."""

    decide: Decide | None = None
    """Decision function of `early_stop`; `None` if it is not set."""
    shadow: bool = False
    """Whether decisions are only recorded; a budget always applies."""
    budget: RunBudget | None = None
    """Budget of the run; `None` for no limit."""
    decider: str | None = None
    """Decision model as `provider:model`; `None` if no model decides."""

    @property
    def is_active(self) -> bool:
        """Whether there is anything to decide."""
        return self.decide is not None or self.budget is not None

    def decide_after(
        self, layer_spec: LayerSpec, state: LayerState, config: RunnableConfig
    ) -> Flow[DepthDecision]:
        """Decide after a layer; if the decision fails, the run continues and records why."""
        started = time()
        reason = self._find_reason_of_cost(layer_spec, state)
        if reason:
            stop_decision = StopDecision(stop=True, why=reason)
        else:
            stop_decision = yield from self._find_decision(layer_spec, state, config)
        node = layer_aggregator_name(layer_spec.number)
        decision = DepthDecision(node=node, stop=stop_decision.stop, why=stop_decision.why)
        if turn_id := find_layer_turn_id(state, layer_spec):
            decision["turn_id"] = turn_id
        if self.shadow and not reason:
            decision["shadow"] = True
        if stop_decision.error:
            decision["error_type"] = classify_failure(stop_decision.error)
        if stop_decision.model:
            decision["model"], decision["usage"] = stop_decision.model, stop_decision.usage
            decision["started"] = started
        return decision

    def _find_reason_of_cost(self, layer_spec: LayerSpec, state: LayerState) -> str | None:
        if self.budget is None:
            return None
        decided = (each for _, each in list_decisions(state, self.budget.layers))
        return self.budget.find_reason_to_stop(layer_spec, state, decided)

    def _find_decision(
        self, layer_spec: LayerSpec, state: LayerState, config: RunnableConfig
    ) -> Flow[StopDecision]:
        if self.decide is None:
            return StopDecision(stop=False, why="within max_cost")
        proposals = [p for p in layer_spec.proposals_in(state).values() if not p["error"]]
        decision, failures = StopDecision(stop=False, why=""), list[Exception]()
        with capture_errors(failures.append):
            decision = yield from self.decide(state["messages"], proposals, config)
            if decision.error:
                raise decision.error
        if not failures:
            return decision
        cause = describe_failure(failures[0], *find_keys(config.get("configurable", {})))
        _logger.warning("`early_stop` failed after layer %d: %s", layer_spec.number, cause)
        why = f"`early_stop` failed: {cause}"
        return decision._replace(stop=False, why=why, error=failures[0])


ALL_LAYERS = DepthPolicy()
"""Policy without decisions: all layers run."""


def depth_update(
    state: Mapping[str, Any], layer_spec: LayerSpec, decision: DepthDecision
) -> dict[str, dict[str, DepthDecision]]:
    """Return the update that adds a decision to those of the same turn."""
    turn_id = decision.get("turn_id")
    decisions = (state.get("depth") or {}).items()
    current = {node: each for node, each in decisions if each.get("turn_id") == turn_id}
    return {"depth": {**current, layer_aggregator_name(layer_spec.number): decision}}
