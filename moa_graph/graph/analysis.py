"""The node `analysis`: a model compares the proposals for the aggregator.

It writes the analysis to the state key `analysis`, where it can be edited, and its call to the
state key `proposals`. If the analysis fails, the run continues without it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig

from moa_graph.graph import deadlines
from moa_graph.graph.model_builder import build_own_models
from moa_graph.graph.node_names import ANALYSIS
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.proposer_attempt import ProposerAttempt, ProposerRequest
from moa_graph.graph.reference_selection import ALL_REFERENCES, DrawnReferences, ReferenceSelector
from moa_graph.graph.selection import FormRequest
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import LayerState
from moa_graph.models.agent import Agent
from moa_graph.prompting import parsing
from moa_graph.prompting.analyses import (
    Analysis,
    analysis_schema,
    format_analysis,
    parse_analysis,
    read_stored_analysis,
)
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow

ANALYST = "analyst"
"""Name of the agent."""

_MIN_TOKENS = 512  # tokens that structured output requires

AnalysisUse = Literal["beside", "instead", "left out", "skipped"]
"""How the aggregator read the analysis: beside the proposals, instead of them, or not at all,
because it could not be parsed or was skipped."""


@dataclass(frozen=True)
class AnalystSelector(ReferenceSelector):
    """Selects references for the analyst: the same as for the aggregator."""

    of_aggregator: ReferenceSelector = ALL_REFERENCES

    def draw(
        self, reader: str, nodes: Sequence[str], state: Mapping[str, Any]
    ) -> DrawnReferences | None:
        """Draw references as for the aggregator."""
        return self.of_aggregator.draw(reader, nodes, state)

    def choose_layout(self, layout: PromptLayout, draw: DrawnReferences | None) -> PromptLayout:
        """Return the layout of the analyst's prompt."""
        return layout.for_analysis()


@dataclass(frozen=True)
class AnalysisSelector(ReferenceSelector):
    """Selects references for an aggregator that also reads an analysis."""

    proposals: ReferenceSelector = ALL_REFERENCES
    """Selects the proposals."""
    replaces: bool = False
    """Whether the aggregator reads the analysis instead of the proposals."""

    @property
    def of_whole_layer(self) -> ReferenceSelector:
        """Selects all proposals of another layer, which has no analysis."""
        return self.proposals.of_whole_layer

    def draw(
        self, reader: str, nodes: Sequence[str], state: Mapping[str, Any]
    ) -> DrawnReferences | None:
        """Draw the proposals."""
        return self.proposals.draw(reader, nodes, state)

    def choose_layout(self, layout: PromptLayout, draw: DrawnReferences | None) -> PromptLayout:
        """Return the layout of the proposals."""
        return self.proposals.choose_layout(layout, draw)

    def find_analysis(self, nodes: Sequence[str], state: Mapping[str, Any]) -> str:
        """Return the text of the analysis, with the reference numbers of the reader."""
        if not (analysis := find_analysis(state)):
            return ""
        answered = [node for node in nodes if not state["proposals"].get(node, {}).get("error")]
        present = [node for node in answered if node in state["proposals"]]
        names = {node: f"response {number}" for number, node in enumerate(present, 1)}
        return format_analysis(analysis, {} if self.replaces else names)


def find_analysis(state: Mapping[str, Any]) -> Analysis | None:
    """Find the analysis of the present turn: as it was edited, or as it was given."""
    record = (state.get("proposals") or {}).get(ANALYSIS)
    stored = state.get("analysis")
    if stored and (not record or stored.get("turn_id", record["turn_id"]) == record["turn_id"]):
        return read_stored_analysis(stored)
    if not record or record["error"]:
        return None
    return read_stored_analysis(json.loads(record["content"] or "null"))


class AnalystAttempt(ProposerAttempt):
    """One attempt at an analysis."""

    def __init__(
        self, agent_node: AgentNode, layer_spec: LayerSpec, state: LayerState, layout: PromptLayout
    ) -> None:
        super().__init__(agent_node, layer_spec, state, layout)
        proposals = state["proposals"]
        nodes = agent_node.nodes_to_read(state)
        self._nodes = [n for n in nodes if n in proposals and not proposals[n]["error"]]
        self._max_tokens = None  # truncated JSON cannot be parsed
        self._analysis: Analysis | None = None

    def make_request(
        self, model: Runnable[Any, Any], deadline: deadlines.LayerDeadline
    ) -> ProposerRequest:
        """Create the request for an analysis."""
        request = AnalysisRequest(self._agent_node, model, self.draft, deadline)
        request.nodes = self._nodes
        return request

    def read_content(self, message: AIMessage) -> str:
        """Parse the analysis.

        Raises:
            InvalidAnalysisError: If it cannot be parsed.
        """
        self._analysis = parse_analysis(message, self._nodes)
        return json.dumps(self._analysis, ensure_ascii=False, indent=2)

    def read_reasoning(self, message: AIMessage) -> str:
        """Return none: reasoning of an analyst is not stored."""
        return ""

    def to_update(self) -> dict[str, Any]:
        """Return the state update; it always removes the analysis of the last turn."""
        analysis = self._analysis and {**self._analysis, "turn_id": self.proposal["turn_id"]}
        return {**super().to_update(), "analysis": analysis}


class AnalysisRequest(ProposerRequest):
    """A request for an analysis, as structured output if the model supports it."""

    nodes: Sequence[str] = ()
    """Nodes of the compared proposals, in numbered order."""

    def call(self, model: Runnable[Any, Any], config: RunnableConfig) -> Flow[Any]:
        """Call a model."""
        form, ask = FormRequest(self._agent_node, _MIN_TOKENS), super().call
        schema = analysis_schema(len(self.nodes))
        return form.fill(model, schema, lambda bound: ask(bound, config))

    def check_output(self, output: Any) -> None:
        """Reject an output that is not an analysis."""
        parse_analysis(parsing.to_message(output), self.nodes)


def set_up_analysis(
    aggregators: Sequence[AgentNode], like: AgentNode, agent: Agent, *, replaces: bool
) -> tuple[LayerSpec, list[AgentNode]]:
    """Add an analyst before the aggregators.

    Args:
        aggregators: The aggregator and its fallbacks.
        like: A proposer whose graph-wide settings the analyst gets.
        agent: The analyst.
        replaces: Whether the aggregators read the analysis instead of the proposals.

    Returns:
        The layer of the analyst, and the aggregators.
    """
    first = aggregators[0]
    analyst = replace(
        like,
        node=ANALYSIS,
        name=ANALYST,
        layer=first.layer,
        agent=agent,
        reference_nodes=first.reference_nodes,
        selector=AnalystSelector(of_aggregator=first.selector),
    )
    analyst = replace(analyst, build_models=build_own_models([analyst]))
    spec = LayerSpec(first.layer, [analyst], LayerPolicy(quorum=1))
    return spec, [
        replace(
            each,
            layer=first.layer + 1,
            selector=AnalysisSelector(proposals=each.selector, replaces=replaces),
        )
        for each in aggregators
    ]


def describe_analysis(state: Mapping[str, Any], *, replaces: bool) -> AnalysisUse:
    """Return how the aggregator read the analysis."""
    if find_analysis(state) is None:
        return "left out" if ANALYSIS in state["proposals"] else "skipped"
    return "instead" if replaces else "beside"


def check_analysis(analysis: Any, *, analysis_only: Any) -> None:
    """Check the options of an analysis.

    Raises:
        ValueError: If one is invalid, or has no effect.
    """
    if not isinstance(analysis_only, bool):
        raise ValueError(f"`analysis_only`={analysis_only!r}: expected True or False")
    if analysis is None:
        raise ValueError("`analysis`=None: expected True, False, or a model")
    if analysis_only and analysis is False:
        raise ValueError("`analysis_only`=True: expected only with `analysis`")
