"""The node of a window: it aggregates some proposals and the answer so far."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.types import CachePolicy

from moa_graph.graph.answer_attempt import AnswerAttempt
from moa_graph.graph.node_runnable import NodeRunnable
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import LayerState, Proposal
from moa_graph.graph.summary_builder import RunSummaryBuilder
from moa_graph.graph.windows import Window
from moa_graph.graph.write_flow import writer_node
from moa_graph.graph.writer import WriterRequest
from moa_graph.prompting import parsing
from moa_graph.prompting.layout import PromptLayout
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.tokens import truncate_answer
from moa_graph.prompting.usage import sum_usages


def window_node(
    window: Window,
    layer_specs: Sequence[LayerSpec],
    layout: PromptLayout,
    cache_policy: CachePolicy[Any] | None,
) -> NodeRunnable:
    """Create the node of a window. If no proposer of the window answered, it calls no model."""
    make_attempt = partial(WindowAttempt, window, layout.max_reference_tokens, layer_specs)
    return writer_node(window.writers, make_attempt, layout, cache_policy)


class WindowAttempt(AnswerAttempt):
    """One attempt at an intermediate answer."""

    def __init__(
        self,
        window: Window,
        max_tokens: int | None,
        layer_specs: Sequence[LayerSpec],
        state: LayerState,
    ) -> None:
        super().__init__(RunSummaryBuilder(layer_specs, state))
        self._node, self._max_tokens = window.node, max_tokens

    def has_work(self, agent_node: AgentNode) -> bool:
        """Return whether the window has a proposal."""
        return not set(agent_node.nodes_to_read(self._state)).isdisjoint(self.proposals)

    def skipped_update(self) -> dict[str, Any]:
        """Remove the result of an earlier run of the turn."""
        is_stored = self._node in self._state["proposals"]
        return {"proposals": {self._node: None}} if is_stored else {}

    def take_earlier_calls(self, config: RunnableConfig) -> None:
        """Do nothing: the aggregator counts the calls once."""

    def check_output(self, request: WriterRequest, output: Any) -> None:
        """Reject an output that is not a text.

        Raises:
            EmptyAnswerError: If it is empty.
            FailedAnswerError: If it ended in an error.
            TypeError: If it has the wrong type.
        """
        message = parsing.to_message(output)
        parsing.check_answer(message, strip_thoughts(message.text))

    def to_update(self, request: WriterRequest) -> dict[str, Any]:
        """Return the state update with the intermediate answer.

        Raises:
            EmptyAnswerError, FailedAnswerError, TypeError: As `check_output`.
        """
        self.check_output(request, request.output)
        message = self._read_message(request)
        content, truncated_chars = truncate_answer(strip_thoughts(message.text), self._max_tokens)
        usage = {**parsing.ZERO_USAGE} if request.cached else parsing.sum_usage(request.output)
        usages = [
            request.with_overtaken_usage(usage),
            *(each["usage"] for each in self.failures.calls),
        ]
        agent_node, prompt = request.agent_node, request.draft.prompt
        draw = agent_node.draw_references(self._state)
        nodes = draw.nodes if draw else ()
        proposal = Proposal(
            layer=agent_node.layer,
            agent=self._node,
            model=agent_node.agent.label,
            content=content,
            error=None,
            truncated_chars=truncated_chars,
            dropped_reference_chars=prompt.dropped_reference_chars,
            usage=sum_usages(filter(None, usages)),
            cached=request.cached,
            started=request.started,
            seconds=request.seconds,
            finish_reason=parsing.read_finish_reason(message),
            turn_id=self._state["proposals"][nodes[-1]]["turn_id"],
            attempt_id=uuid4().hex,
        )
        proposal |= self._read_optional(request) | (draw.to_record() if draw else {})  # type: ignore[typeddict-item]
        return {"proposals": {self._node: proposal}}

    def _read_optional(self, request: WriterRequest) -> dict[str, Any]:
        """Return the optional fields of a proposal that have a value."""
        billed = request.is_overtaken_billed or any(e["may_be_billed"] for e in self.failures.calls)
        fields = {
            "dropped_messages": request.draft.prompt.dropped_messages,
            "refused_prompt": request.draft.refused_prompt,
            "served_model": parsing.read_served_model(parsing.to_message(request.output)),
            "may_be_billed": billed,
            "hedged": bool(self.failures.hedged),
        }
        return {name: value for name, value in fields.items() if value}
