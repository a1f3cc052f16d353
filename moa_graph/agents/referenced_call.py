"""`ReferencedCall`: a call of an agent's model whose request contains the proposals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from time import perf_counter, time
from typing import Any

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage

from moa_graph.agents.agent_turn import AgentTurn
from moa_graph.agents.conversation import find_last_id
from moa_graph.agents.depth import TurnDepth, read_depth
from moa_graph.agents.request import ReferencedRequest, add_references
from moa_graph.agents.summary import summarize_call
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.quorum import has_quorum
from moa_graph.graph.reference_selection import DrawnReferences, ReferenceSelector
from moa_graph.models.agent import Agent


class ReferencedCall:
    """A call of an agent's model with proposals in its request."""

    def __init__(
        self,
        name: str,
        spec: GraphSpec,
        selector: ReferenceSelector,
        turn: AgentTurn,
        request: ModelRequest[Any],
    ) -> None:
        """Build the request with the proposals; the given request stays unchanged.

        Args:
            name: Name of the middleware.
            spec: The graph specification of the layers.
            selector: How references are selected and formatted for the model.
            turn: The turn that the middleware stored.
            request: The request of the agent.
        """
        self._name, self._spec, self._selector, self._turn = name, spec, selector, turn
        self._state: Mapping[str, Any] = request.state
        self.is_reused = find_last_id(self._state) != turn.get("last_read_id")
        """Whether an earlier call of the model has already read the proposals."""
        nodes = self._drawn_references.nodes if self._drawn_references else self._read_nodes
        self._referenced = (
            add_references(request, turn, nodes, spec.layout)
            if nodes
            else ReferencedRequest(request)
        )
        self._started, self._timer_started = round(time(), 3), perf_counter()

    @property
    def request(self) -> ModelRequest[Any]:
        """The request with the proposals."""
        return self._referenced.request

    def add_summary(self, response: ModelResponse[Any]) -> ModelResponse[Any]:
        """Add the `RunSummary`: to the first answer after the layers ran, and to the final answer.

        The answers between them only call tools, and a checkpointer may store each with every step.
        """
        is_final = response.structured_response is not None or not any(
            isinstance(each, AIMessage) and each.tool_calls for each in response.result
        )
        if "proposals" not in self._turn or (self.is_reused and not is_final):
            return response
        return replace(response, result=[self._with_summary(each) for each in response.result])

    @cached_property
    def _read_nodes(self) -> Sequence[str]:
        """The proposers of the last layer that ran and reached its quorum."""
        state: Any = {"proposals": self._turn.get("proposals", {})}
        for layer_spec in reversed(self._turn_depth.layer_specs):
            in_layer = layer_spec.proposals_in(state)
            if in_layer and has_quorum(in_layer, layer_spec.policy):
                return [node for node, proposal in in_layer.items() if not proposal["error"]]
        return []

    @cached_property
    def _turn_depth(self) -> TurnDepth:
        """The layers that ran."""
        state = {name: self._turn.get(name, {}) for name in ("proposals", "depth")}
        return read_depth({**state, "messages": self._state["messages"]}, self._spec.layers)

    @cached_property
    def _drawn_references(self) -> DrawnReferences | None:
        """The drawn references; `None` if the model reads all proposals in configured order."""
        if not self._read_nodes:
            return None
        read = {"messages": self._state["messages"], "proposals": self._turn["proposals"]}
        return self._selector.draw(self._name, self._read_nodes, read)

    def _with_summary(self, message: BaseMessage) -> BaseMessage:
        if not isinstance(message, AIMessage):
            return message
        summary = summarize_call(
            self._turn_depth,
            self._turn["proposals"],
            message,
            draw=self._drawn_references,
            is_reused=self.is_reused,
            aggregator=Agent(model=self.request.model).label,
            started=self._started,
            seconds=round(perf_counter() - self._timer_started, 3),
            dropped_reference_chars=self._referenced.dropped_reference_chars,
        )
        metadata = message.response_metadata
        key = f"{self._name}_panel" if self._name in metadata else self._name
        return message.model_copy(update={"response_metadata": {**metadata, key: summary}})
