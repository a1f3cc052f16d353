"""The router node before the first layer, and its conditional edges."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from time import time
from typing import Any

from langchain_core.runnables import RunnableConfig

from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.call_errors import capture_errors
from moa_graph.graph.depth import find_newest_turn_id, find_route, is_effective
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.failed_calls import classify_failure, describe_failure
from moa_graph.graph.node_names import AGGREGATOR, FULL, ROUTER
from moa_graph.graph.node_runnable import NodeRunnable, StateNode
from moa_graph.graph.router import RouteChoice, Router
from moa_graph.graph.state import LayerState
from moa_graph.redaction import find_keys
from moa_graph.sync_async import Flow

_logger = logging.getLogger("moa_graph")


def router_node(router: Router, *, shadow: bool) -> NodeRunnable:
    """Create the node that chooses the route; if the router fails, the route is the layers.

    It drops the proposals of an earlier turn, because the layers may not run and overwrite them.
    """

    def route(
        state: LayerState, config: RunnableConfig, _cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        choice, failures, started = RouteChoice(FULL, ""), list[Exception](), time()
        with capture_errors(failures.append):
            choice = yield from router.choose(state["messages"], config)
            if choice.error:
                raise choice.error
        if failures:
            cause = describe_failure(failures[0], *find_keys(config.get("configurable", {})))
            _logger.warning("`router` failed: %s", cause)
            why = f"`router` failed: {cause}"
            choice = replace(choice, name=FULL, why=why, error=failures[0])
        decision = _to_decision(choice, find_newest_turn_id(state["messages"]), shadow=shadow)
        if choice.model:
            decision["started"] = started
        update: dict[str, Any] = {"depth": {ROUTER: decision}}
        if earlier := dict.fromkeys(state.get("proposals", {})):
            update["proposals"] = earlier
        if state.get("analysis"):
            update["analysis"] = None
        return update

    return NodeRunnable(route)


def router_edges(first_nodes: Sequence[str]) -> NodeRunnable:
    """Create the conditional edges after the router; without a decision, they decide again."""

    def route(state: LayerState) -> Sequence[str]:
        decision = find_route(state)
        if decision is None:
            return [ROUTER]
        return [AGGREGATOR] if is_effective(decision) else first_nodes

    return StateNode(route)


def _to_decision(choice: RouteChoice, turn_id: str, *, shadow: bool) -> DepthDecision:
    decision = DepthDecision(
        node=ROUTER,
        stop=choice.name != FULL,
        why=choice.why,
        turn_id=turn_id,
        route=choice.name,
    )
    if shadow:
        decision["shadow"] = True
    if choice.error:
        decision["error_type"] = classify_failure(choice.error)
    if choice.model:
        decision["model"], decision["usage"] = choice.model, choice.usage
    return decision
