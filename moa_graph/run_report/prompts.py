"""The exact messages that each agent of a run read."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from moa_graph.graph.builder import MoAGraph
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.prompts import ContextExceededError, PromptDraft, build_prompt
from moa_graph.graph.spec import AgentNode
from moa_graph.models.traits import ModelLimits
from moa_graph.prompting.layout import PromptLayout
from moa_graph.prompting.refusals import ContextOverflow
from moa_graph.run_report.turns import drop_abandoned_branches
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord

MixtureGraph = StateGraph[Any, Any, Any, Any] | CompiledStateGraph[Any, Any, Any, Any]


@dataclass(frozen=True)
class AgentPrompt:
    """The prompt of one or more agents of a layer."""

    calls: Sequence[AgentCall]
    messages: Sequence[AnyMessage]
    rebuilt: bool
    """Whether it is rebuilt from the final state instead of the agents' checkpoint."""

    @property
    def tokens(self) -> int | None:
        """Largest number of prompt tokens that a model reported."""
        usages = [call.usage for call in self.calls if call.usage]
        return max((usage["input_tokens"] for usage in usages), default=0) or None


def read_prompts(
    run: RunRecord,
    state: Mapping[str, Any],
    graph_spec: GraphSpec | None,
    history: Iterable[StateSnapshot],
) -> list[list[AgentPrompt]]:
    """Return the prompts of the agents of each layer.

    Args:
        run: The run.
        state: Its state.
        graph_spec: The specification of its graph, with the layout and the agents' system prompts.
            Without it, the paper's layout is used without system prompts.
        history: The thread's checkpoints, newest first, with the state that each agent read.
            Without it, the final state is used.
    """
    snapshots = drop_abandoned_branches(list(history))
    layers = [
        [_read_prompt(call, run, state, graph_spec, snapshots) for call in layer]
        for layer in run.layers
        if not (run.is_voted and layer[0].node == AGGREGATOR)  # no call
    ]
    return [_merge_equal_prompts(layer) for layer in layers]


def find_graph_spec(graph: MixtureGraph | None, called: Iterable[str]) -> GraphSpec | None:
    """Return the specification of the graph with these nodes: the graph, or an embedded one."""
    nodes = list(called)
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else graph
    if isinstance(builder, MoAGraph):
        return builder.spec
    inner = [s.runnable for s in builder.nodes.values()] if builder else []
    specs = (find_graph_spec(g, nodes) for g in inner if isinstance(g, CompiledStateGraph))
    matches = (spec for spec in specs if spec and all(spec.find_agent_node(node) for node in nodes))
    return next(matches, None)


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
    # A host without the schema `MoAState` has the answer, but no proposals.
    if not graph_spec or "proposals" not in state:
        agent_node = None
    else:
        agent_node = _find_reader(graph_spec, call, run)
    if agent_node is None:
        return AgentPrompt([call], _guess_prompt(call, run, conversation, layout), rebuilt=True)
    checkpoint_values = _find_checkpoint_values(call.node, conversation, snapshots)
    values: Any = {**state, **checkpoint_values, "messages": conversation}
    messages = _rebuild_messages(call, agent_node, values, layout)
    return AgentPrompt([call], messages, rebuilt=not checkpoint_values and call.layer > 1)


def _find_reader(graph_spec: GraphSpec, call: AgentCall, run: RunRecord) -> AgentNode | None:
    """Return the agent of a call; the aggregator reads the last layer that ran."""
    agent_node = graph_spec.find_agent_node(call.node)
    if run.depth and not run.depth["layers"]:
        return graph_spec.routes.get(run.depth.get("route", ""))
    if agent_node and run.depth and call.node == AGGREGATOR:
        last = graph_spec.layers[run.depth["layers"] - 1]
        return replace(agent_node, reference_nodes=[each.node for each in last.agent_nodes])
    return agent_node


def _guess_prompt(
    call: AgentCall, run: RunRecord, conversation: Sequence[AnyMessage], layout: PromptLayout
) -> Sequence[AnyMessage]:
    """Build the prompt of an agent from its call alone."""
    if call.layer == 1:
        return conversation
    reference_calls = [c for c in run.calls if c.layer == call.layer - 1 and not c.error]
    references = layout.template_references_text(c.text for c in reference_calls)
    return layout.insert_references(conversation, references)


def _find_checkpoint_values(
    node: str, conversation: Sequence[AnyMessage], snapshots: Sequence[StateSnapshot]
) -> Mapping[str, Any]:
    """Return the state that a node read; empty if it is not among the snapshots."""
    read = (
        s.values
        for s in snapshots
        if node in s.next and _conversation_without_answer(s.values) == conversation
    )
    return next(read, {})


def _rebuild_messages(
    call: AgentCall, agent_node: AgentNode, values: Any, layout: PromptLayout
) -> Sequence[AnyMessage]:
    """Build the prompt of an agent: the second one, if its model refused the first."""
    if call.refused_prompt:
        unknown = {call.node: ModelLimits(context_tokens=None, token_ratio=1.0)}
        limits = unknown | (values.get("model_limits") or {})
        state: Any = {**values, "model_limits": limits}
        draft = PromptDraft(agent_node, state, layout)
        overflow = ContextOverflow(**call.refused_prompt, answer_tokens=None)
        with suppress(ContextExceededError):
            draft.shorten(overflow, ContextExceededError(""))
        return draft.prompt.messages
    truncate = bool(call.dropped_reference_chars or call.dropped_messages)
    return build_prompt(agent_node, values, layout, truncate=truncate).messages


def _conversation_without_answer(state: Mapping[str, Any]) -> list[AnyMessage]:
    """Return the conversation without the answer."""
    messages = list(state["messages"])
    return messages[:-1] if messages and isinstance(messages[-1], AIMessage) else messages


def _merge_equal_prompts(prompts: Sequence[AgentPrompt]) -> list[AgentPrompt]:
    """Merge agents with equal prompts."""
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
