"""The exact messages that each agent of a run read."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from moa_graph.graph.builder import GraphSpec, MoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.prompts import ContextExceededError, PromptDraft, build_prompt
from moa_graph.graph.spec import AgentNode
from moa_graph.models.traits import ModelLimits
from moa_graph.prompting.layout import PromptLayout
from moa_graph.prompting.refusals import ContextOverflow
from moa_graph.runs.record import AgentCall, RunRecord

MixtureGraph = StateGraph[Any, Any, Any, Any] | CompiledStateGraph[Any, Any, Any, Any]


@dataclass(frozen=True)
class AgentPrompt:
    """What some agents of a layer were asked."""

    calls: Sequence[AgentCall]
    messages: Sequence[AnyMessage]
    rebuilt: bool
    """Whether it is put together from the end of the run, not from what the agents started from."""


def read_prompts(
    run: RunRecord,
    state: Mapping[str, Any],
    graph: MixtureGraph | None,
    history: Iterable[StateSnapshot],
) -> list[list[AgentPrompt]]:
    """Find what the agents of each layer read.

    Args:
        run: What happened.
        state: Its state.
        graph: The mixture, which knows its layout and the agents' own system prompts. Without,
            the paper's layout is taken, and no system prompts.
        history: The thread's checkpoints, newest first, which have the state that each agent
            read. Without, it is taken to be the one at the end.
    """
    graph_spec = find_graph_spec(graph, run)
    snapshots = _drop_abandoned_branches(history)
    layers = [
        [_read_prompt(call, run, state, graph_spec, snapshots) for call in layer]
        for layer in run.layers
    ]
    return [_merge_equal_prompts(layer) for layer in layers]


def find_graph_spec(graph: MixtureGraph | None, run: RunRecord) -> GraphSpec | None:
    """Find the mixture that a run is of: the graph, or the one that it embeds."""
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else graph
    if isinstance(builder, MoAGraph):
        return builder.spec
    inner = [s.runnable for s in builder.nodes.values()] if builder else []
    specs = (find_graph_spec(g, run) for g in inner if isinstance(g, CompiledStateGraph))
    matches = (
        spec for spec in specs if spec and all(spec.find_agent_node(c.node) for c in run.calls)
    )
    return next(matches, None)


def _drop_abandoned_branches(history: Iterable[StateSnapshot]) -> list[StateSnapshot]:
    """Leave out the checkpoints of branches that were abandoned."""
    ancestors: list[StateSnapshot] = []
    for snapshot in history:
        parent = (ancestors[-1].parent_config or {}) if ancestors else snapshot.config
        parent_id = parent.get("configurable", {}).get("checkpoint_id")
        if snapshot.config["configurable"]["checkpoint_id"] == parent_id:
            ancestors.append(snapshot)
    return ancestors


def _read_prompt(
    call: AgentCall,
    run: RunRecord,
    state: Mapping[str, Any],
    graph_spec: GraphSpec | None,
    snapshots: Sequence[StateSnapshot],
) -> AgentPrompt:
    layout = graph_spec.layout if graph_spec else PromptLayout()
    if call.node == AGGREGATOR and run.selected:
        layout = layout.for_selection()
    conversation = _conversation_without_answer(state)
    # A host whose schema is not `MoAState` has the answer, but not the proposals.
    if not graph_spec or "proposals" not in state:
        agent_node = None
    else:
        agent_node = graph_spec.find_agent_node(call.node)
    if agent_node is None:
        return AgentPrompt([call], _guess_prompt(call, run, conversation, layout), rebuilt=True)
    checkpoint_values = _find_checkpoint_values(call.node, conversation, snapshots)
    values: Any = {**state, **checkpoint_values, "messages": conversation}
    messages = _rebuild_messages(call, agent_node, values, layout)
    return AgentPrompt([call], messages, rebuilt=not checkpoint_values and call.layer > 1)


def _guess_prompt(
    call: AgentCall, run: RunRecord, conversation: Sequence[AnyMessage], layout: PromptLayout
) -> Sequence[AnyMessage]:
    """Put together what an agent read of whom nothing but its call is known."""
    if call.layer == 1:
        return conversation
    reference_calls = [c for c in run.calls if c.layer == call.layer - 1 and not c.error]
    references = layout.template_references_text(c.text for c in reference_calls)
    return layout.insert_references(conversation, references)


def _find_checkpoint_values(
    node: str, conversation: Sequence[AnyMessage], snapshots: Sequence[StateSnapshot]
) -> Mapping[str, Any]:
    """Find the state that a node read; empty where it is not among the snapshots."""
    read = (
        s.values
        for s in snapshots
        if node in s.next and _conversation_without_answer(s.values) == conversation
    )
    return next(read, {})


def _rebuild_messages(
    call: AgentCall, agent_node: AgentNode, values: Any, layout: PromptLayout
) -> Sequence[AnyMessage]:
    """Build what an agent read: the second prompt, if its model refused a longer one."""
    if call.refused_prompt:
        unknown = {call.node: ModelLimits(context_tokens=None, token_ratio=1.0)}
        limits = unknown | (values.get("model_limits") or {})
        state: Any = {**values, "model_limits": limits}
        draft = PromptDraft(agent_node, state, layout)
        overflow = ContextOverflow(**call.refused_prompt, answer_tokens=None)
        with suppress(ContextExceededError):
            draft.shorten(overflow, ContextExceededError(""))
        return draft.prompt.messages
    whole = not (call.dropped_reference_chars or call.dropped_messages)
    return build_prompt(agent_node, values, layout, whole=whole).messages


def _conversation_without_answer(state: Mapping[str, Any]) -> list[AnyMessage]:
    """Give the conversation without the answer."""
    messages = list(state["messages"])
    return messages[:-1] if messages and isinstance(messages[-1], AIMessage) else messages


def _merge_equal_prompts(prompts: Sequence[AgentPrompt]) -> list[AgentPrompt]:
    """Put together the agents that read the same."""
    merged: list[AgentPrompt] = []
    for reading in prompts:
        match_index = next(
            (n for n, r in enumerate(merged) if r.messages == reading.messages), None
        )
        if match_index is None:
            merged.append(reading)
        else:
            merged[match_index] = replace(
                merged[match_index], calls=[*merged[match_index].calls, *reading.calls]
            )
    return merged
