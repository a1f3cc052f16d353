"""The depth of a turn: which layers ran, and why.

Nodes write their decisions to the channel `depth` of the state. Conditional edges, the aggregator
and the run summary read them. A decision belongs to one turn; decisions of earlier turns are
ignored.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.node_names import FULL, ROUTER, layer_aggregator_name
from moa_graph.graph.spec import LayerSpec
from moa_graph.graph.turns import unanswered_messages
from moa_graph.prompting.usage import sum_usages


class ShadowDepth(TypedDict):
    """Savings of a stop that `shadow=True` only recorded.

    Attributes:
        layers: Layers after which the aggregator would have written.
        skipped: Proposers that would not have been called.
        usage: Known tokens of the calls that would not have been made.
    """

    layers: int
    skipped: int
    why: str
    usage: dict[str, Any] | None


class RunDepth(TypedDict):
    """Depth of a turn: `response_metadata["moa"]["depth"]`.

    Attributes:
        layers: Layers of proposers that ran.
        of: Layers that the mixture has.
        why: Why no further layer ran, or why the last decision was to continue.
        skipped: Proposers that were not called.
        route: Name of the route, with `router`: `full` for the layers.
        shadow: Savings that `shadow=True` recorded; absent if there are none.
    """

    layers: int
    of: int
    why: str
    skipped: int
    route: NotRequired[str]
    shadow: NotRequired[ShadowDepth]


def find_decision(state: Mapping[str, Any], node: str, turn_id: str | None) -> DepthDecision | None:
    """Return the decision of a layer aggregator in a turn; `None` if there is none."""
    decision = (state.get("depth") or {}).get(node)
    if not decision or decision.get("turn_id", turn_id) != turn_id:
        return None
    return cast("DepthDecision", decision)


def find_route(state: Mapping[str, Any]) -> DepthDecision | None:
    """Return the decision of the router in the present turn; `None` if there is none."""
    decision = (state.get("depth") or {}).get(ROUTER)
    if not decision:
        return None
    messages = state["messages"]
    open_ids = {each.id for each in unanswered_messages(messages)} | {find_newest_turn_id(messages)}
    is_present = decision.get("turn_id") is None or decision["turn_id"] in open_ids
    return cast("DepthDecision", decision) if is_present else None


def is_effective(decision: DepthDecision | None) -> bool:
    """Return whether a decision sends the run to the aggregator."""
    return bool(decision and decision["stop"] and not decision.get("shadow"))


def describe_depth(state: Mapping[str, Any], layer_specs: Sequence[LayerSpec]) -> RunDepth | None:
    """Describe the depth of a turn; `None` if there was no decision."""
    if not (decided := list_decisions(state, layer_specs)):
        return None
    last = count_asked_layers(state, layer_specs)
    reasons = {layers: decision.get("why", "") for layers, decision in decided}
    depth = RunDepth(
        layers=last,
        of=len(layer_specs),
        why=reasons.get(last, decided[-1][1].get("why", "")),
        skipped=_count_proposers(layer_specs[last:]),
    )
    if (first := decided[0])[0] == 0:
        route = first[1].get("route", FULL) if is_effective(first[1]) else FULL
        if last or route != FULL:  # `update_state` may have skipped the layers without a route
            depth["route"] = route
    shadows = (each for each in decided if each[1].get("shadow") and each[1]["stop"])
    for layers, decision in [*shadows][:1]:
        depth["shadow"] = ShadowDepth(
            layers=layers,
            skipped=_count_proposers(layer_specs[layers:]),
            why=decision.get("why", ""),
            usage=_sum_layer_usages(state, layer_specs[layers:]),
        )
        depth["why"] = "only recorded: `shadow`"
    return depth


def list_decisions(
    state: Mapping[str, Any], layer_specs: Sequence[LayerSpec]
) -> Sequence[tuple[int, DepthDecision]]:
    """Return the decisions of this turn in order, each with the number of layers before it."""
    route = find_route(state)
    found = [(0, route)] if route else []
    for layer_spec in layer_specs[:-1]:
        node = layer_aggregator_name(layer_spec.number)
        decision = find_decision(state, node, find_layer_turn_id(state, layer_spec))
        if decision:
            found.append((layer_spec.number, decision))
    return found


def count_asked_layers(state: Mapping[str, Any], layer_specs: Sequence[LayerSpec]) -> int:
    """Count the layers that run before the aggregator."""
    stops = (n for n, decision in list_decisions(state, layer_specs) if is_effective(decision))
    return next(stops, len(layer_specs))


def reuse_decisions(decisions: Mapping[str, DepthDecision]) -> dict[str, DepthDecision]:
    """Copy decisions of an earlier call without their cost."""
    dropped = {"model", "usage", "started", "turn_id", "error_type"}
    return {
        node: cast("DepthDecision", {k: v for k, v in each.items() if k not in dropped})
        for node, each in decisions.items()
    }


def find_layer_turn_id(state: Mapping[str, Any], layer_spec: LayerSpec) -> str | None:
    """Return the turn of a layer's proposals; `None` if there are none."""
    proposals = layer_spec.proposals_in(cast("Any", state)).values()
    return next((each.get("turn_id") for each in proposals), None)


def find_newest_turn_id(messages: Sequence[AnyMessage]) -> str:
    """Return the id of the message to answer.

    If the last message is an answer, it is the user message before: another mixture in the same
    host has just answered it, and this one continues.
    """
    last = messages[-1]
    if isinstance(last, AIMessage) and not last.tool_calls:
        last = next((m for m in reversed(messages) if isinstance(m, HumanMessage)), last)
    return last.id or ""


def _count_proposers(layer_specs: Sequence[LayerSpec]) -> int:
    return sum(len(layer_spec.agent_nodes) for layer_spec in layer_specs)


def _sum_layer_usages(
    state: Mapping[str, Any], layer_specs: Sequence[LayerSpec]
) -> dict[str, Any] | None:
    proposals = [p for spec in layer_specs for p in spec.proposals_in(cast("Any", state)).values()]
    return sum_usages([usage for each in proposals if (usage := each["usage"])])
