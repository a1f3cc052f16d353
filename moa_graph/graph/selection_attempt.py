"""An answer that is one of the proposals: `aggregation="select"`."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage

from moa_graph.deprecated import with_old_keys
from moa_graph.graph.answer_attempt import AnswerAttempt
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.references import without_references
from moa_graph.graph.selection import ModelCall, NumberRequest
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState, Proposal
from moa_graph.graph.writer import Writer, WriterRequest
from moa_graph.prompting import parsing
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow


class SelectionAttempt(AnswerAttempt):
    """One attempt to select one of the proposals as the answer.

    The references are templated again here, because the layer aggregator may have used another
    layout: a thread can continue with a mixture that has another `aggregation`.
    """

    def start_request(
        self, writer: Writer, *, state: LayerState, layout: PromptLayout, cache: CacheBackend | None
    ) -> WriterRequest:
        """Build the prompt of a judge, and start its timer."""
        own = without_references(state)  # the judge has its own prompt
        return super().start_request(writer, state=own, layout=layout, cache=cache)

    def ask(self, request: NumberRequest, model: Any, call: ModelCall) -> Flow[Any]:
        """Request a number from a judge."""
        return request.ask(model, len(self._candidates(request.agent_node)), call)

    def _candidates(self, judge: AgentNode) -> Sequence[tuple[str, Proposal]]:
        """Return the proposals that a judge reads, with their nodes, in its order."""
        nodes = judge.nodes_to_read(self._state)
        proposals = ((node, self.proposals.get(node)) for node in nodes)
        return [(node, p) for node, p in proposals if p and not p["error"]]

    def check_output(self, request: WriterRequest, output: Any) -> None:
        """Reject an output that selects no proposal.

        Raises:
            InvalidSelectionError: If it selects none.
            TypeError: If it has the wrong type.
        """
        self._find_pick(request.agent_node, output)

    def _find_pick(self, judge: AgentNode, output: Any) -> tuple[str, Proposal]:
        """Return the selected proposal and its node."""
        candidates = self._candidates(judge)
        texts = [proposal["content"] for _, proposal in candidates]
        number = parsing.parse_selected_number(parsing.to_message(output), len(texts), texts)
        return candidates[number - 1]

    def to_final_message(self, request: WriterRequest) -> AIMessage:
        """Convert the selected proposal to the message that joins the conversation.

        Raises:
            InvalidSelectionError: If no proposal was selected.
            TypeError: If the output has the wrong type.
        """
        node, proposal = self._find_pick(request.agent_node, request.output)
        selection = self._read_message(request)
        reason = {"finish_reason": r} if (r := proposal["finish_reason"]) else {}
        summary = {**self._build_summary(request), "selected": node}
        return AIMessage(
            proposal["content"],
            id=selection.id,
            usage_metadata=selection.usage_metadata,
            response_metadata={**reason, "moa": with_old_keys(summary)},
        )
