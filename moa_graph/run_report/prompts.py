"""The exact messages that each agent of a run read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from moa_graph.graph.builder import MoAGraph, Plan
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.proposer import messages_for
from moa_graph.prompting.layout import Layout
from moa_graph.runs.record import Call, Run

Mixture = StateGraph[Any, Any, Any, Any] | CompiledStateGraph[Any, Any, Any, Any]


@dataclass(frozen=True)
class Reading:
    """What some agents of a layer were asked."""

    calls: Sequence[Call]
    messages: Sequence[AnyMessage]
    rebuilt: bool
    """Whether it is put together from the end of the run, not from what the agents started from."""


def read_prompts(
    run: Run, state: Mapping[str, Any], graph: Mixture | None, history: Iterable[StateSnapshot]
) -> list[list[Reading]]:
    """Find what the agents of each layer read.

    Args:
        run: What happened.
        state: Its state.
        graph: The mixture, which knows its layout and the agents' own system prompts. Without,
            the paper's layout is taken, and no system prompts.
        history: The thread's checkpoints, newest first, which have the state that each agent
            read. Without, it is taken to be the one at the end.
    """
    plan = find_plan(graph, run)
    past = _ancestors(history)
    layers = [[_reading(call, run, state, plan, past) for call in layer] for layer in run.layers]
    return [_merged(layer) for layer in layers]


def find_plan(graph: Mixture | None, run: Run) -> Plan | None:
    """Find the mixture that a run is of: the graph, or the one that it embeds."""
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else graph
    if isinstance(builder, MoAGraph):
        return builder.plan
    inner = [s.runnable for s in builder.nodes.values()] if builder else []
    plans = (find_plan(g, run) for g in inner if isinstance(g, CompiledStateGraph))
    found = (plan for plan in plans if plan and all(plan.seat(c.node) for c in run.calls))
    return next(found, None)


def _ancestors(history: Iterable[StateSnapshot]) -> list[StateSnapshot]:
    """Leave out the checkpoints of branches that were abandoned."""
    kept: list[StateSnapshot] = []
    for snapshot in history:
        parent = (kept[-1].parent_config or {}) if kept else snapshot.config
        wanted = parent.get("configurable", {}).get("checkpoint_id")
        if snapshot.config["configurable"]["checkpoint_id"] == wanted:
            kept.append(snapshot)
    return kept


def _reading(
    call: Call,
    run: Run,
    state: Mapping[str, Any],
    plan: Plan | None,
    past: Sequence[StateSnapshot],
) -> Reading:
    # A host whose schema is not `MoAState` has the answer, but not the proposals.
    seat = plan.seat(call.node) if plan and "proposals" in state else None
    layout = plan.layout if plan else Layout()
    if call.node == AGGREGATOR and run.selected:
        layout = layout.to_select()
    asked = _asked(state)
    before = next((s.values for s in past if call.node in s.next and _asked(s.values) == asked), {})
    if seat:
        values: Any = {**state, **before, "messages": asked}
        messages, _ = messages_for(seat, values, layout, whole=not call.unread)
    elif call.layer == 1:
        messages = asked
    else:
        read = [c for c in run.calls if c.layer == call.layer - 1 and not c.error]
        messages = layout.place(asked, layout.template(c.text for c in read))
    kept = bool(before) or call.layer == 1
    return Reading([call], messages, rebuilt=not (kept and seat))


def _asked(state: Mapping[str, Any]) -> list[AnyMessage]:
    """Give the conversation without the answer."""
    messages = list(state["messages"])
    return messages[:-1] if messages and isinstance(messages[-1], AIMessage) else messages


def _merged(readings: Sequence[Reading]) -> list[Reading]:
    """Put together the agents that read the same."""
    merged: list[Reading] = []
    for reading in readings:
        alike = next((n for n, r in enumerate(merged) if r.messages == reading.messages), None)
        if alike is None:
            merged.append(reading)
        else:
            merged[alike] = replace(merged[alike], calls=[*merged[alike].calls, *reading.calls])
    return merged
